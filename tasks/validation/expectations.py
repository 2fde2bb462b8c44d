"""What Great Expectations is asked about deletion requests and corpus: made from the models, kept as files to review.

The JSON files beside this module are what a run asks; `python -m tasks.validation.expectations` writes them anew. What
a single row must be follows from the JSON schema of its model, which alone refuses rows; whether rows go together, and
whether requests point at records, is stated here. Knows nothing of files with data or of what becomes of a bad row.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel

from unilogit.data.records import CorpusRecord
from unilogit.data.requests import DeletionRequest
from unilogit.files import JsonObject, read_json, write_json

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation

# Columns of the rows that are judged, beside the fields of their model.
PLACE = "place"  # "file:row", unique
PROBLEM = "problem"  # what the model refuses, a sentence a line; null in a good row
SUBJECTS = "subjects"  # how many people a record is about

# Columns of references, a row for each field by which a request points at records: its place tells request and field.
SELECTORS = "selectors"  # how many the request has
UNMATCHED = "unmatched"  # how many of them match no record

# Columns of totals, a row for a corpus. Of what is set beside the corpus before, the share; null where there was none.
ROWS, EARLIER_ROWS, ROWS_SHARE = "rows", "earlier_rows", "rows_share"
LENGTH, EARLIER_LENGTH, LENGTH_SHARE = "response_length", "earlier_response_length", "response_length_share"

# Of an expectation's meta: what a person reads when it fails.
WARNING = "warning"  # once; {…} are numbers of its result
ROW_WARNING = "row_warning"  # of every row that fails it; {…} are its columns


class Table(StrEnum):
    """What is judged: the name of the kept file, and of the page in the Data Docs."""

    REQUESTS = "requests"
    CORPUS = "corpus"
    TOTALS = "totals"
    REFERENCES = "references"

    @property
    def file(self) -> Path:
        return Path(__file__).with_name(f"{self}.json")


def text_columns(model: type[BaseModel]) -> list[str]:
    """The fields of a model that a table can hold as text: all but lists."""
    return [name for name, field in _fields(model).items() if field["type"] != "array"]


def _fields(model: type[BaseModel]) -> dict[str, dict[str, str | int | bool]]:
    """The JSON schema of every field; `nullable` where it may be null."""
    fields = {}
    for name, schema in model.model_json_schema()["properties"].items():
        kinds = schema.get("anyOf", [schema])
        (kind,) = (kind for kind in kinds if kind["type"] != "null")
        fields[name] = {**schema, **kind, "nullable": len(kinds) > 1}
    return fields


def expectations_of(model: type[BaseModel]) -> "list[Expectation]":
    """What the JSON schema of a model says about its fields; lists, which a column of text cannot hold, apart."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    good_rows = Column(PROBLEM).is_null()  # of a bad row not every field is known
    expectations: list[Expectation] = []
    for name in text_columns(model):
        field = _fields(model)[name]
        if not field["nullable"]:
            expectations.append(gxe.ExpectColumnValuesToNotBeNull(column=name, row_condition=good_rows))
        shortest, longest = field.get("minLength"), field.get("maxLength")
        if shortest is not None or longest is not None:
            expectations.append(
                gxe.ExpectColumnValueLengthsToBeBetween(column=name, min_value=shortest, max_value=longest)
            )
        if "pattern" in field:
            expectations.append(gxe.ExpectColumnValuesToMatchRegex(column=name, regex=field["pattern"]))
    return expectations


def _of_all_rows(identifier: str) -> "list[Expectation]":
    from great_expectations import expectations as gxe

    refused = "more than a tenth of the rows were refused; is this the right file, in the right form?"
    return [
        gxe.ExpectColumnValuesToBeNull(column=PROBLEM),
        gxe.ExpectColumnValuesToBeNull(column=PROBLEM, mostly=0.9, severity="warning", meta={WARNING: refused}),
        gxe.ExpectColumnValuesToBeUnique(column=identifier),
    ]


def _of_the_corpus() -> "list[Expectation]":
    from great_expectations import expectations as gxe

    nobody = (
        "hardly a record names in `subject_ids` whom it is about, so that requests by `subject_id` will match next to"
        " nothing; fill it in, or ask by `record_ids` or `text`"
    )
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=SUBJECTS, min_value=1, mostly=0.001, severity="warning", meta={WARNING: nobody}
        )
    ]


def _of_totals() -> "list[Expectation]":
    """Drift from the corpus that was validated before."""
    from great_expectations import expectations as gxe

    told = {
        ROWS_SHARE: f"the corpus has {{{ROWS}}} rows, and had {{{EARLIER_ROWS}}} the time before; is it the right one?",
        LENGTH_SHARE: f"a response has {{{LENGTH}}} characters on average, and had {{{EARLIER_LENGTH}}} the time"
        " before; is it the right corpus?",
    }
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=0.5, max_value=2, severity="warning", meta={ROW_WARNING: sentence}
        )
        for column, sentence in told.items()
    ]


def _of_references() -> "list[Expectation]":
    from great_expectations import expectations as gxe

    unmatched = f"{{{PLACE}}}: {{{UNMATCHED}}} of {{{SELECTORS}}} match nothing in the corpus; check the spelling"
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=UNMATCHED, max_value=0, severity="warning", meta={ROW_WARNING: unmatched}
        )
    ]


def make_expectations(table: Table) -> "ExpectationSuite":
    """The expectations as the models and this module say."""
    from great_expectations import ExpectationSuite

    match table:
        case Table.REQUESTS:
            expectations = _of_all_rows("request_id") + expectations_of(DeletionRequest)
        case Table.CORPUS:
            expectations = _of_all_rows("record_id") + _of_the_corpus() + expectations_of(CorpusRecord)
        case Table.TOTALS:
            expectations = _of_totals()
        case Table.REFERENCES:
            expectations = _of_references()
    return ExpectationSuite(table, expectations)


def as_json(table: Table) -> JsonObject:
    """What the kept file should hold; each id follows from what is expected, the order from the model."""
    expectations = make_expectations(table).to_json_dict()["expectations"]
    for expectation in expectations:
        content = json.dumps([table, expectation["type"], expectation["kwargs"]], sort_keys=True)
        expectation["id"] = str(uuid5(NAMESPACE_URL, content))
    return {"name": str(table), "expectations": expectations}


def load_expectations(table: Table) -> "ExpectationSuite":
    """The expectations of the kept file.

    Raises:
        RuntimeError: this version of Great Expectations does not know all of them.
    """
    from great_expectations import ExpectationSuite

    kept = read_json(table.file)
    expectations = ExpectationSuite(**kept)
    if len(expectations.expectations) != len(kept["expectations"]):  # it leaves out what it does not know
        raise RuntimeError(f"{table.file}: holds expectations that Great Expectations does not know")
    return expectations


if __name__ == "__main__":
    for table in Table:
        write_json(table.file, as_json(table))
        print(table.file)
