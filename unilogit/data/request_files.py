"""Deletion requests as files bring them: CSV, JSON, JSON lines or Parquet, row by row, losing nothing.

Splits every file into rows that can be read and rows that cannot, and files single requests. Does not judge
what the fields say: a date may be no date yet, an identifier may be missing.
"""

import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from unilogit.data.csv_rows import read_csv_rows
from unilogit.data.locations import UnreadableFile, file_name, write_location
from unilogit.data.request_fields import FIELDS, RawFields, passed_over, read_fields
from unilogit.data.request_mapping import FieldNames, Mapping
from unilogit.data.requests import Rejection, as_request
from unilogit.data.row import Row
from unilogit.data.rows import kind, read_rows, with_packed
from unilogit.errors import InputError

_TABLES, _TEXTS = (".csv", ".tsv"), (".json", ".jsonl", ".ndjson")
SUFFIXES = (*with_packed((*_TABLES, *_TEXTS)), ".parquet")
FILED = r"request-[0-9]{8}-[0-9]{6}-[0-9a-f]{6}\.jsonl"  # what `file_request` writes, whole


class RawRequest(NamedTuple):
    """One readable row of a request file.

    Attributes:
        file: what the file is called.
        row: 1-based: the first physical line (CSV, its header being line 1), the line (JSON lines), the row (Parquet)
            or the place in the list (JSON).
        fields: every name of FIELDS; text as given, None where nothing was given; `record_ids` and `aliases` are
            lists, times are in the form of RFC 3339 where they are times.
        raw: the row as it came.
    """

    file: str
    row: int
    fields: RawFields
    raw: str


def read_requests(
    file: Path | str, mapping: Mapping = None, *, warnings: list[str], name: str | None = None
) -> Iterator[RawRequest | Rejection]:
    """Every row of a request file in order: what it gives, or why it cannot be read.

    Args:
        file: its path or URL.
        mapping: the form of the rows; see `FieldNames`.
        warnings: grows by a sentence where columns were passed over, once the last row is read.
        name: what the file is called in rows, rejections and errors.

    Raises:
        UnreadableFile: the file as a whole holds no requests: it is empty, damaged, lacks a required column, or is in
            another form.
        InputError: it cannot be opened or read, or the mapping is wrong.
    """
    called = name or file_name(file)
    is_csv = _is_table(file)
    names = FieldNames(mapping, is_csv)
    fields: RawFields = {}
    is_first = True
    for row in _rows(file, names, called):
        if row.fields is None:
            problems = [row.problem]
        elif foreign := names.foreign_form(row.fields):
            if is_first:
                raise UnreadableFile(called, foreign)
            problems = [foreign]
        else:
            try:
                fields, problems = read_fields(names.cells(row.fields), is_csv)
            except ValueError as error:
                problems = [str(error)]
        is_first = False
        if problems:
            yield Rejection(file=called, row=row.number, reasons=problems, raw=row.raw)
        else:
            yield RawRequest(called, row.number, fields, row.raw)
    if names.passed_over:
        missing = [field for field in FIELDS if field not in names.seen]
        warnings.append(f"{called}: {passed_over(names.passed_over, missing)}")


def request_rows(file: Path | str, mapping: Mapping = None) -> Iterator[Row]:
    """The rows of a request file, whatever their fields say.

    Raises:
        InputError: what `read_requests` raises, but for a file in another form.
    """
    return _rows(file, FieldNames(mapping, is_csv=_is_table(file)), file_name(file))


def _rows(file: Path | str, names: FieldNames, called: str) -> Iterator[Row]:
    return read_csv_rows(file, names.missing, called) if _is_table(file) else read_rows(file, names.of_rows, called)


def _is_table(file: Path | str) -> bool:
    return kind(file_name(file)) in _TABLES


def file_request(
    folder: Path | str,
    subject_id: str | None = None,
    record_ids: Sequence[str] = (),
    request_id: str | None = None,
    legal_basis: str | None = None,
    *,
    aliases: Sequence[str] = (),
    text: str | None = None,
) -> str:
    """Write one deletion request, received now, as a file of its own into a folder of request files.

    Args:
        folder: path or URL; made if it is not there.
        subject_id, record_ids, request_id, legal_basis, aliases, text: as in `DeletionRequest`.

    Returns:
        Its request_id, made up from the time when None is given.

    Raises:
        InputError: nothing says what to forget, an id is unusable, or `folder` is a file.
    """
    received_at = datetime.now(UTC)
    stamp = f"{received_at:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    row = {
        "request_id": request_id or f"R-{stamp}",
        "received_at": received_at.isoformat(),
        "subject_id": subject_id,
        "aliases": list(aliases),
        "record_ids": list(record_ids),
        "text": text,
        "legal_basis": legal_basis,
        "source": "unilogit requests add",
    }
    fields, problems = read_fields(row, is_csv=False)
    problems += [
        f"field `{name}` is empty; fill it in or leave it out"
        for name, value in fields.items()
        if value is None and row.get(name) is not None
    ]
    if problems:
        raise InputError(*problems)
    file = f"request-{stamp}.jsonl"
    request = as_request(fields, file, row=1)
    write_location(folder, file, request.model_dump_json(include=set(FIELDS), exclude_none=True) + "\n")
    return request.request_id
