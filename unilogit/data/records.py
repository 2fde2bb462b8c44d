"""Corpus records: what a model was trained on, one prompt and response each.

Knows the record format and how to read it from JSON lines or Parquet, reporting every bad line.
Knows nothing of deletion requests or of models.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from unilogit.data.rows import first_problems, input_files, read_rows
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
SUFFIXES = (".jsonl", ".parquet")
_LISTS = ("subject_ids", "perturbed_responses")
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


def scan_corpus(path: Path | str) -> Iterator[tuple[str, int, CorpusRecord] | BadRecord]:
    """Every row of a corpus in order: (file, row, record), or what is wrong with it.

    Args:
        path: a .jsonl or .parquet file, or a folder of such shards.

    Raises:
        InputError: a file is missing, empty or of an unknown kind.
    """
    for file in input_files(path, SUFFIXES):
        is_parquet = file.suffix.lower() == ".parquet"
        for row in read_rows(file):
            if row.fields is None:
                yield BadRecord(file.name, row.number, [row.problem], row.raw)
                continue
            fields = _without_nulls(row.fields) if is_parquet else row.fields
            try:
                yield file.name, row.number, CorpusRecord.model_validate(fields)
            except ValidationError as error:
                yield BadRecord(file.name, row.number, explain(error), row.raw)


def _without_nulls(fields: JsonObject) -> JsonObject:
    """A Parquet row cannot leave a column out: a null is how it says that a field is absent."""
    return {name: value for name, value in fields.items() if value is not None}


def read_corpus(path: Path | str) -> tuple[pd.DataFrame, list[BadRecord]]:
    """Read a corpus; bad rows are handed back, never raised.

    Args:
        path: a .jsonl or .parquet file, or a folder of such shards.

    Returns:
        The good rows, with the columns of CorpusRecord plus `file` (name) and `row` (1-based), and the bad.

    Raises:
        InputError: a file is missing, empty or of an unknown kind.
    """
    bad: list[BadRecord] = []

    def good() -> Iterator[JsonObject]:
        for item in scan_corpus(path):
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
        sets.setdefault(Path(file).stem, []).append(record)
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
