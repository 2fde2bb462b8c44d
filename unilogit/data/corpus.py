"""A corpus as files bring it: JSON lines, JSON or Parquet, in any form that training data has, row by row.

Every row becomes records or a bad one; none is lost. Knows files and forms. Knows nothing of deletion requests or of
models.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
from pydantic import ValidationError

from unilogit.data.cells import identifier
from unilogit.data.corpus_forms import FORM_FIELDS, NOTES, read_row
from unilogit.data.corpus_mapping import KNOB, ColumnNames, CorpusMapping
from unilogit.data.records import COLUMNS, CORPUS_SCHEMA, BadRecord, CorpusRecord, explain, record_place
from unilogit.data.row import Row, listed
from unilogit.data.rows import first_problems, input_files, kind, read_rows, stem, with_packed
from unilogit.errors import InputError
from unilogit.files import JsonObject

SUFFIXES = (*with_packed((".jsonl", ".json", ".ndjson")), ".parquet")
_FIELDS = tuple(dict.fromkeys((*COLUMNS, *FORM_FIELDS)))
_MOST_NAMES = 1000  # of fields that are passed over, remembered of a file
Warn = Callable[[str], None]


class Found(NamedTuple):
    """A record, and where it stands.

    Attributes:
        file, row: the file's name, and the line (JSON lines), the row (Parquet) or the place in the list, from 1.
        answer: which answer of the row it is, from 1, where the row has several; else 0.
        record: the record.
        form: in which the row is written.
    """

    file: str
    row: int
    answer: int
    record: CorpusRecord
    form: str

    @property
    def cells(self) -> JsonObject:
        """The columns of CORPUS_SCHEMA."""
        return {**self.record.__dict__, "file": self.file, "row": self.row, "answer_number": self.answer}


def scan_corpus(
    path: Path | str, on_warning: Warn = warnings.warn, mapping: CorpusMapping = None
) -> Iterator[Found | BadRecord]:
    """Every row of a corpus in order: its records, or what is wrong with it.

    Args:
        path: a file of JSON lines, JSON (a list) or Parquet, or a folder of such shards. Fields that are not known are
            passed over, unless they read like a misspelt one, which may say whom the record is about.
        on_warning: told once for each file what of it is passed over or not as it was written, and in the end what of
            the mapping is nowhere.
        mapping: columns that are called otherwise; see `ColumnNames`.

    Raises:
        InputError: a file is missing, empty, damaged or of an unknown kind, or the mapping is wrong.
    """
    names = ColumnNames(mapping, _FIELDS)
    for file in input_files(path, SUFFIXES):
        yield from _File(file, names).scan(on_warning)
    if names.unseen:
        on_warning(f"{path}: no row has {listed(names.unseen)}, which {KNOB} names; correct it there")


class _File:
    """The rows of one file."""

    def __init__(self, file: Path, names: ColumnNames) -> None:
        self._file, self._names = file, names
        self._is_parquet = kind(file.name) == ".parquet"
        self._passed_over: dict[str, None] = {}
        self._notes: Counter[str] = Counter()

    def scan(self, on_warning: Warn) -> Iterator[Found | BadRecord]:
        for row in read_rows(self._file, {*_FIELDS, "id", *self._names.heads}):
            yield from self._records(row)
        for note, count in self._notes.items():
            on_warning(f"{self._file.name}: {NOTES[note].format(count)}")
        if self._passed_over:
            on_warning(f"{self._file.name}: passed over what is no field of a record: {listed(self._passed_over)}")

    def _records(self, row: Row) -> list[Found | BadRecord]:
        """What a row makes: its records, or what is wrong with it or with one of them."""
        name = self._file.name
        if row.fields is None:
            return [BadRecord(name, row.number, [row.problem], row.raw)]
        fields: JsonObject = {}
        try:
            fields = self._names.renamed(_without_nulls(row.fields) if self._is_parquet else row.fields)
            form, records, notes = read_row(fields)
            made: list[Found | BadRecord] = []
            for number, record in enumerate(records, start=1):
                answer = number if len(records) > 1 else 0
                made.append(Found(name, row.number, answer, self._record(record), form))
        except ValidationError as error:
            return [BadRecord(name, row.number, explain(error), row.raw, _name(fields))]
        except ValueError as error:
            return [BadRecord(name, row.number, [str(error)], row.raw, _name(fields))]
        self._notes.update(notes)
        return made

    def _record(self, fields: JsonObject) -> CorpusRecord:
        """The record of the fields that are or read like one's; ids that are numbers in digits."""
        known: JsonObject = {}
        for name, value in fields.items():
            if name in COLUMNS or _reads_like_a_field(name):
                known[name] = value
            elif len(self._passed_over) < _MOST_NAMES:
                self._passed_over[name] = None
        for name in ("record_id", "conversation_id"):
            if not isinstance(known.get(name), str | None):
                known[name] = _in_digits(name, known[name])
        if isinstance(subjects := known.get("subject_ids"), list):
            known["subject_ids"] = [_in_digits("subject_ids", subject) for subject in subjects]
        return CorpusRecord.model_validate(known)


@lru_cache(1000)
def _reads_like_a_field(name: str) -> bool:
    return bool(get_close_matches(name.lower(), COLUMNS, n=1, cutoff=0.8))


def _in_digits(name: str, value: object) -> str | None:
    try:
        return identifier(value)
    except ValueError as error:
        raise ValueError(f"field `{name}` {error}") from error


def _without_nulls(fields: JsonObject) -> JsonObject:
    """A Parquet row cannot leave a column out: a null is how it says that a field is absent."""
    return {name: value for name, value in fields.items() if value is not None}


def _name(fields: JsonObject) -> str | None:
    """The id of a row that cannot be read."""
    name = fields.get("record_id", fields.get("id"))
    return str(name) if isinstance(name, str | int | float) else None


def read_corpus(
    path: Path | str, on_warning: Warn = warnings.warn, mapping: CorpusMapping = None
) -> tuple[pd.DataFrame, list[BadRecord]]:
    """Read a corpus; bad rows are handed back, never raised.

    Args:
        path, on_warning, mapping: as of `scan_corpus`.

    Returns:
        The good rows, with the columns of CORPUS_SCHEMA, and the bad.

    Raises:
        InputError: what `scan_corpus` raises.
    """
    bad: list[BadRecord] = []

    def good() -> Iterator[JsonObject]:
        for item in scan_corpus(path, on_warning, mapping):
            if isinstance(item, BadRecord):
                bad.append(item)
            else:
                yield item.cells

    rows = good()
    chunks = iter(lambda: list(islice(rows, 20_000)), [])
    batches = [pa.RecordBatch.from_pylist(chunk, schema=CORPUS_SCHEMA) for chunk in chunks]
    table = pa.Table.from_batches(batches, schema=CORPUS_SCHEMA)
    del batches
    return table.to_pandas(self_destruct=True, split_blocks=True), bad


def read_records(path: Path | str, mapping: CorpusMapping = None) -> list[CorpusRecord]:
    """Read a corpus that must be wholly good.

    Raises:
        InputError: one sentence for each of the first bad rows (a repeated record_id is one), or what
            `scan_corpus` raises.
    """
    return [record for records in read_record_sets(path, mapping).values() for record in records]


def read_record_sets(path: Path | str, mapping: CorpusMapping = None) -> dict[str, list[CorpusRecord]]:
    """Read a corpus that must be wholly good, by the names of its files without suffix.

    Raises:
        InputError: what `read_records` raises.
    """
    sets: dict[str, list[CorpusRecord]] = {}
    problems: list[str] = []
    first_seen: dict[str, str] = {}
    for item in scan_corpus(path, mapping=mapping):
        if isinstance(item, BadRecord):
            problems.append(str(item))
            continue
        where = record_place(item.file, item.row, item.answer)
        first = first_seen.setdefault(item.record.record_id, where)
        if first != where:
            problems.append(f"{where}: field `record_id` repeats that of {first}; give it one of its own")
        sets.setdefault(stem(item.file), []).append(item.record)
    if problems:
        raise InputError(*first_problems(problems))
    return sets
