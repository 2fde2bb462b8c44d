"""What Great Expectations is asked about requests and corpus, and its answers row by row.

A row is known by its place, "file:row". Each check pairs an expectation, which the Data Docs show, with
the sentence a person reads when a row fails it. Knows nothing of files or of what becomes of a bad row.
"""

import logging
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from unilogit.data.records import BadRecord
from unilogit.data.request_files import FIELDS
from unilogit.data.requests import DeletionRequest

os.environ["GX_ANALYTICS_ENABLED"] = "false"

PLACE = "place"
IDENTIFIER_LENGTH = 200


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_TIME = TypeAdapter(AwareDatetime)

# A row of requests.parquet, and the request it is or, a line each, why it is none.
JudgedRequest = tuple[dict[str, Any], DeletionRequest | str]


@dataclass(frozen=True)
class Check:
    """An expectation, and why a row that fails it is refused; no reason where the caller words its own."""

    expectation: Any
    reason: str = ""

    @property
    def columns(self) -> list[str]:
        names = [getattr(self.expectation, name, None) for name in ("column", "column_A", "column_B")]
        return [name for name in names if name]


@dataclass(frozen=True)
class Outcome:
    """How one check went.

    Attributes:
        check: what was asked.
        places: the values of the column `place` of the rows that failed, in order.
    """

    check: Check
    places: list[str]


def request_checks() -> list[Check]:
    """What is asked of the rows of `request_frame`."""
    from great_expectations import expectations as gxe

    time = "must be a time with a time zone in the form of RFC 3339; write it like 2025-03-01T12:00:00Z"
    return [
        Check(
            gxe.ExpectColumnValuesToNotBeNull(column="request_id"),
            "field `request_id` is missing; give the request an id of its own",
        ),
        Check(gxe.ExpectColumnValuesToBeUnique(column="request_id")),
        Check(
            gxe.ExpectColumnValuesToNotBeNull(column="received_at"),
            "field `received_at` is missing; add the time the request came in, like 2025-03-01T12:00:00Z",
        ),
        Check(
            gxe.ExpectColumnValuesToBeInSet(column="received_at_reads", value_set=[True]),
            f"field `received_at` {time}",
        ),
        Check(gxe.ExpectColumnValuesToBeInSet(column="due_at_reads", value_set=[True]), f"field `due_at` {time}"),
        Check(
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A="due_at_utc",
                column_B="received_at_utc",
                or_equal=True,
                ignore_row_if="either_value_is_missing",
            ),
            "field `due_at` is earlier than `received_at`; correct one of them",
        ),
        Check(
            gxe.ExpectColumnValuesToBeBetween(column="selectors", min_value=1),
            "nothing says what to forget; fill in `subject_id`, `record_ids` or `text`",
        ),
        *[
            Check(
                gxe.ExpectColumnValueLengthsToBeBetween(column=name, max_value=IDENTIFIER_LENGTH),
                f"field `{name}` is longer than {IDENTIFIER_LENGTH} characters; shorten it",
            )
            for name in ("request_id", "subject_id")
        ],
        Check(gxe.ExpectColumnValuesToBeNull(column="refusal")),
    ]


def corpus_checks() -> list[Check]:
    """What is asked of the rows of `corpus_frame`."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    of_records = {"row_condition": Column("problem").is_null()}
    return [
        Check(gxe.ExpectColumnValuesToBeNull(column="problem")),
        Check(
            gxe.ExpectColumnValuesToNotBeNull(column="record_id", **of_records),
            "field `record_id` is missing; add it or remove the line",
        ),
        Check(gxe.ExpectColumnValuesToBeUnique(column="record_id", **of_records)),
        Check(
            gxe.ExpectColumnValuesToNotBeNull(column="prompt", **of_records),
            'field `prompt` is missing; add it ("" for plain text) or remove the line',
        ),
        Check(
            gxe.ExpectColumnValuesToMatchRegex(column="response", regex=r"\S", **of_records),
            "field `response` holds only white space; write the answer or remove the line",
        ),
    ]


def place_of(row: dict[str, Any]) -> str:
    return f"{row['file']}:{row['row']}"


def places_of(frame: pd.DataFrame) -> pd.Series:
    return frame["file"] + ":" + frame["row"].astype("str")


def request_frame(requests: list[JudgedRequest]) -> pd.DataFrame:
    """The text fields of requests and, derived from them, what an expectation cannot work out for itself.

    Columns: `received_at_reads` and `due_at_reads` (is it a time? null where nothing was given),
    `received_at_utc` and `due_at_utc` (times), `selectors` (how many are given), `refusal` (what the request
    model refuses, else null).
    """
    return pd.DataFrame(
        [
            {
                PLACE: place_of(row),
                **{name: row[name] and row[name].strip() for name in FIELDS if name != "record_ids"},
                **_time_columns("received_at", row["received_at"]),
                **_time_columns("due_at", row["due_at"]),
                "selectors": sum(bool(row[name]) for name in ("subject_id", "record_ids", "text")),
                "refusal": request if isinstance(request, str) else None,
            }
            for row, request in requests
        ]
    )


def _time_columns(name: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {f"{name}_reads": None, f"{name}_utc": None}
    try:
        time = _TIME.validate_strings(text).astimezone(UTC) if _RFC_3339.fullmatch(text) else None
    except (ValidationError, OverflowError):
        time = None
    return {f"{name}_reads": time is not None, f"{name}_utc": time}


def corpus_frame(records: pd.DataFrame, bad: list[BadRecord]) -> pd.DataFrame:
    """Good rows by their fields, bad ones by the column `problem`."""
    good = records[["record_id", "prompt", "response"]].assign(**{PLACE: places_of(records)})
    problems = [{PLACE: f"{item.file}:{item.row}", "problem": "\n".join(item.reasons)} for item in bad]
    return pd.concat([good, pd.DataFrame(problems, columns=[PLACE, "problem"], dtype="str")], ignore_index=True)


def run_suites(
    suites: dict[str, tuple[pd.DataFrame, list[Check]]], docs: Path, run_time: datetime
) -> dict[str, list[Outcome]]:
    """Ask Great Expectations every check of every suite, and write its Data Docs (HTML) to `docs`.

    Args:
        suites: by name, a frame with a column `place` (unique) and the checks of its rows.
        docs: the folder to fill; its index.html leads to every suite's page.
        run_time: what the pages show as the time of the run.

    Raises:
        RuntimeError: Great Expectations could not evaluate a check.
    """
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for name in ("great_expectations", "great_expectations.data_context.types.base"):  # each has a level of its own
        logging.getLogger(name).setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    context.add_data_docs_site(
        "validation",
        {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(docs.absolute()),
            },
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    source = context.data_sources.add_pandas("files")
    outcomes = {}
    for name, (frame, checks) in suites.items():
        definition = gx.ValidationDefinition(
            name=name,
            data=source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all rows"),
            suite=context.suites.add(gx.ExpectationSuite(name, [check.expectation for check in checks])),
        )
        checkpoint = gx.Checkpoint(
            name=name,
            validation_definitions=[context.validation_definitions.add(definition)],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="data docs")],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [PLACE]},
        )
        answer = context.checkpoints.add(checkpoint).run(
            batch_parameters={"dataframe": frame}, run_id=RunIdentifier(run_name=name, run_time=run_time)
        )
        (result,) = answer.run_results.values()
        outcomes[name] = _outcomes(checks, result.results)
    return outcomes


def _outcomes(checks: list[Check], results: list[Any]) -> list[Outcome]:
    by_id = {result.expectation_config.id: result for result in results}
    outcomes = []
    for check in checks:
        result = by_id[check.expectation.id]
        places = [row[PLACE] for row in result.result.get("unexpected_index_list") or []]
        if result.success == bool(places):
            raise RuntimeError(f"Great Expectations could not evaluate {check.expectation}: {result.exception_info}")
        outcomes.append(Outcome(check, places))
    return outcomes


def reasons_by_place(
    frame: pd.DataFrame, outcomes: list[Outcome], identifier: str, own_words: str
) -> dict[str, list[str]]:
    """Every reason against each bad place.

    Of the rows that share an identifier, the first with nothing else against it stays good. The column
    `own_words` says for itself what is wrong; it is heard where no check has found a reason.
    """
    cells = frame.set_index(PLACE)
    reasons: dict[str, list[str]] = defaultdict(list)
    repeats: list[str] = []
    own: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.check.reason:
            for place in outcome.places:
                reasons[place].append(outcome.check.reason)
        elif outcome.check.expectation.column == identifier:
            repeats = outcome.places
        else:
            own = dict(zip(outcome.places, cells.loc[outcome.places, own_words], strict=True))
    for place, words in own.items():
        if place not in reasons:
            reasons[place] = words.split("\n")

    names = dict(zip(repeats, cells.loc[repeats, identifier], strict=True))
    first: dict[str, str] = {}
    for place in sorted(repeats, key=lambda place: place in reasons):
        first.setdefault(names[place], place)
    for place, name in names.items():
        if first[name] != place:
            wrong = f"field `{identifier}` repeats that of {first[name]}"
            reasons[place].append(f"{wrong}; give it one of its own or remove the line")
    return dict(reasons)
