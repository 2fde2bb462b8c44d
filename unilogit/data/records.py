"""Corpus records: what a model was trained on, one prompt and response each.

Knows the record format and how to read it from JSON or Parquet, reporting every bad line.
Knows nothing of deletion requests or of models.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from unilogit.data.chat import CONVERSATIONS, as_prompt_and_response
from unilogit.data.row import listed
from unilogit.data.rows import first_problems, input_files, kind, read_rows, stem
from unilogit.errors import InputError
from unilogit.files import JsonObject, atomic_path

Identifier = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
# More than white space; written so that Python, Rust and RE2 read it alike where it matters.
Answer = Annotated[str, StringConstraints(min_length=1, pattern=r"[^\s\x1c-\x1f]")]
# Kinds of error with words of their own, for validators to raise as PydanticCustomError.
FIELD_REFUSED = "field_refused"  # what to say after the field's name
ROW_REFUSED = "row_refused"  # a sentence


class CorpusRecord(BaseModel):
    """One prompt and response of the training corpus.

    Attributes:
        record_id: unique in the corpus.
        subject_ids: the people it is about; empty for facts that belong to nobody.
        prompt: empty for plain-text corpora.
        response: what the model learned to say; never blank.
        paraphrased_prompt, paraphrased_response: the same fact in other words.
        alternative_response: what to say instead once the response is forgotten, for the method `dpo`.
        perturbed_responses: wrong answers of the same form, for the truth ratio.
        group: a name for a part of the corpus, e.g. "world_facts".
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    record_id: Identifier
    subject_ids: list[Identifier] = Field(default_factory=list)
    prompt: str
    response: Answer
    paraphrased_prompt: str | None = None
    paraphrased_response: str | None = None
    alternative_response: Answer | None = None
    perturbed_responses: list[str] = Field(default_factory=list)
    group: str = ""


COLUMNS = list(CorpusRecord.model_fields)
SUFFIXES = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".ndjson.gz", ".parquet")
_LISTS = ("subject_ids", "perturbed_responses")
_OF_ROWS = (*COLUMNS, *CONVERSATIONS, "id")
CORPUS_SCHEMA = pa.schema(
    [(name, pa.list_(pa.string()) if name in _LISTS else pa.string()) for name in COLUMNS]
    + [("file", pa.string()), ("row", pa.int64())]
)


_WORDS = {
    "missing": "is missing; add it or remove the line",
    "extra_forbidden": "is not known; remove it or correct its spelling",
    "string_type": "must be text; put its value in quotes",
    "list_type": 'must be a list of texts; write it as ["…", "…"]',
    "string_too_short": "is empty; fill it in or remove the line",
    "too_short": "is empty; fill it in or remove the line",
    "string_too_long": "is longer than {max_length} characters; shorten it",
    "string_pattern_mismatch": "holds only white space; write the answer or remove the line",
}


@dataclass(frozen=True)
class BadRecord:
    """A row of a corpus that is not a record.

    Attributes:
        file, row: where it stands: the file's name, and the line (JSON lines) or row (Parquet) from 1.
        reasons: what is wrong and what to do, a sentence each, without anybody's data.
        raw: the row as text.
    """

    file: str
    row: int
    reasons: list[str]
    raw: str

    def __str__(self) -> str:
        return f"{self.file}:{self.row}: {'; '.join(self.reasons)}"


def explain(error: ValidationError, own_words: Mapping[tuple[str, str], str] = MappingProxyType({})) -> list[str]:
    """One sentence for each thing a pydantic model refused: the field, what is wrong, what to do.

    Fields come in the order of the model, then what is wrong with the row. Values are left out: they may be
    personal data.

    Args:
        own_words: field and kind of error → what to say after the field's name.
    """
    field_sentences, row_sentences = [], []
    for item in error.errors(include_url=False, include_input=False):
        kind, message = item["type"], item["msg"].removeprefix("Value error, ")
        if kind == "default_factory_not_called":
            continue  # a field that follows from another, which has its own sentence
        if kind == ROW_REFUSED:
            row_sentences.append(message)
            continue
        name, *places = item["loc"] or ("",)
        field = f"field `{name}{''.join(f'[{place}]' for place in places)}`" if name else "the row"
        usual = message if kind == FIELD_REFUSED else _WORDS.get(kind, f"is refused: {message}; correct it")
        words = own_words.get((str(name), kind), usual)
        field_sentences.append(f"{field} {words.format_map(item.get('ctx', {}))}")
    return field_sentences + row_sentences


def scan_corpus(
    path: Path | str, on_warning: Callable[[str], None] = warnings.warn
) -> Iterator[tuple[str, int, CorpusRecord] | BadRecord]:
    """Every row of a corpus in order: (file, row, record), or what is wrong with it.

    Args:
        path: a file of JSON lines, JSON (a list) or Parquet, or a folder of such shards. A row may be a conversation of
            one question and one answer (`messages`, `conversations`). Fields that are not known are passed over, unless
            they read like a misspelt one, which may say whom the record is about.
        on_warning: told once for each file with fields that are passed over.

    Raises:
        InputError: a file is missing, empty, damaged or of an unknown kind.
    """
    for file in input_files(path, SUFFIXES):
        is_parquet = kind(file.name) == ".parquet"
        passed_over: dict[str, None] = {}
        for row in read_rows(file, _OF_ROWS):
            if row.fields is None:
                yield BadRecord(file.name, row.number, [row.problem], row.raw)
                continue
            try:
                fields = as_prompt_and_response(_without_nulls(row.fields) if is_parquet else row.fields)
                record = CorpusRecord.model_validate(_known(fields, passed_over))
            except ValidationError as error:
                yield BadRecord(file.name, row.number, explain(error), row.raw)
            except ValueError as error:
                yield BadRecord(file.name, row.number, [str(error)], row.raw)
            else:
                yield file.name, row.number, record
        if passed_over:
            on_warning(f"{file.name}: passed over what is no field of a record: {listed(passed_over)}")


def _known(fields: JsonObject, passed_over: dict[str, None]) -> JsonObject:
    """The fields of a record, and those that read like one; ids that are whole numbers in digits."""
    known: JsonObject = {}
    for name, value in fields.items():
        if name in COLUMNS or _reads_like_a_field(name):
            known[name] = value
        elif len(passed_over) < 1000:
            passed_over[name] = None
    if "record_id" in known:
        known["record_id"] = _in_digits(known["record_id"])
    if isinstance(subjects := known.get("subject_ids"), list):
        known["subject_ids"] = [_in_digits(subject) for subject in subjects]
    return known


@lru_cache(1000)
def _reads_like_a_field(name: str) -> bool:
    return bool(get_close_matches(name.lower(), COLUMNS, n=1, cutoff=0.8))


def _in_digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _without_nulls(fields: JsonObject) -> JsonObject:
    """A Parquet row cannot leave a column out: a null is how it says that a field is absent."""
    return {name: value for name, value in fields.items() if value is not None}


def read_corpus(
    path: Path | str, on_warning: Callable[[str], None] = warnings.warn
) -> tuple[pd.DataFrame, list[BadRecord]]:
    """Read a corpus; bad rows are handed back, never raised.

    Args:
        path, on_warning: as of `scan_corpus`.

    Returns:
        The good rows, with the columns of CorpusRecord plus `file` (name) and `row` (1-based), and the bad.

    Raises:
        InputError: a file is missing, empty or of an unknown kind.
    """
    bad: list[BadRecord] = []

    def good() -> Iterator[JsonObject]:
        for item in scan_corpus(path, on_warning):
            if isinstance(item, BadRecord):
                bad.append(item)
            else:
                file, row, record = item
                yield {**record.__dict__, "file": file, "row": row}

    rows = good()
    chunks = iter(lambda: list(islice(rows, 20_000)), [])
    batches = [pa.RecordBatch.from_pylist(chunk, schema=CORPUS_SCHEMA) for chunk in chunks]
    table = pa.Table.from_batches(batches, schema=CORPUS_SCHEMA)
    del batches
    return table.to_pandas(self_destruct=True, split_blocks=True), bad


def read_records(path: Path | str) -> list[CorpusRecord]:
    """Read a corpus that must be wholly good.

    Raises:
        InputError: one sentence for each of the first bad rows (a repeated record_id is one), or what
            `read_corpus` raises.
    """
    return [record for records in read_record_sets(path).values() for record in records]


def read_record_sets(path: Path | str) -> dict[str, list[CorpusRecord]]:
    """Read a corpus that must be wholly good, by the names of its files without suffix.

    Raises:
        InputError: what `read_records` raises.
    """
    sets: dict[str, list[CorpusRecord]] = {}
    problems: list[str] = []
    first_seen: dict[str, str] = {}
    for item in scan_corpus(path):
        if isinstance(item, BadRecord):
            problems.append(str(item))
            continue
        file, row, record = item
        place = first_seen.setdefault(record.record_id, f"{file}:{row}")
        if place != f"{file}:{row}":
            problems.append(f"{file}:{row}: field `record_id` repeats that of {place}; give it one of its own")
        sets.setdefault(stem(file), []).append(record)
    if problems:
        raise InputError(*first_problems(problems))
    return sets


def write_corpus(path: Path | str, records: Iterable[CorpusRecord]) -> None:
    """Write records as JSON lines, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(record.model_dump_json(exclude_none=True) + "\n" for record in records)


def frame_records(frame: pd.DataFrame) -> list[CorpusRecord]:
    """The records of a frame with the columns of CorpusRecord; its other columns are passed over.

    Raises:
        pydantic.ValidationError: a row is no record.
    """
    columns = {name: zip(frame[name], frame[name].notna(), strict=True) for name in COLUMNS if name in frame}
    return [
        CorpusRecord(
            **{  # type: ignore[arg-type]
                name: list(value) if name in _LISTS else value
                for name, (value, is_given) in zip(columns, cells, strict=True)
                if is_given
            }
        )
        for cells in zip(*columns.values(), strict=True)
    ]
