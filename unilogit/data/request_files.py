"""Deletion requests as files bring them: CSV, JSON lines or Parquet, row by row, losing nothing.

Splits every file into rows that can be read and rows that cannot, and files single requests. Does not judge
what the fields say: a date may be no date yet, an identifier may be missing.
"""

import math
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from unilogit.data.csv_rows import is_utf8, read_csv_rows
from unilogit.data.requests import Rejection, as_request
from unilogit.data.rows import input_files, read_rows
from unilogit.errors import InputError
from unilogit.files import JsonObject, write_text

FIELDS = ("request_id", "received_at", "subject_id", "record_ids", "text", "legal_basis", "due_at", "source")
REQUIRED = ("request_id", "received_at")
LISTS = ("record_ids",)
SUFFIXES = (".csv", ".jsonl", ".parquet")

RawFields = dict[str, str | list[str] | None]


@dataclass(frozen=True)
class RawRequest:
    """One readable row of a request file.

    Attributes:
        file: the file's name.
        row: 1-based: the first physical line (CSV, its header being line 1), the line or the row (Parquet).
        fields: every name of FIELDS; text as given, None where nothing was given; `record_ids` is a list.
    """

    file: str
    row: int
    fields: RawFields


def request_files(path: Path | str) -> list[Path]:
    """The request files at `path`, a file or a folder of them (which may be empty), by name.

    Raises:
        InputError: nothing is there, or something there is not of a known kind.
    """
    return input_files(path, SUFFIXES, may_be_empty=True)


def read_requests(path: Path | str) -> tuple[list[RawRequest], list[Rejection]]:
    """Read every row of a request file, or of a folder of them.

    Returns:
        The rows that can be read, and those that cannot, each in the order of the files.

    Raises:
        InputError: a file is missing, empty, of an unknown kind, or lacks a required column.
    """
    requests: list[RawRequest] = []
    rejections: list[Rejection] = []
    for file in request_files(path):
        is_csv = file.suffix.lower() == ".csv"
        for row in read_csv_rows(file, REQUIRED, LISTS) if is_csv else read_rows(file):
            fields, problems = ({}, [row.problem]) if row.fields is None else _checked(row.fields)
            if problems:
                rejections.append(Rejection(file=file.name, row=row.number, reasons=problems, raw=row.raw))
            else:
                requests.append(RawRequest(file.name, row.number, fields))
    return requests, rejections


def _checked(row: JsonObject) -> tuple[RawFields, list[str]]:
    """The fields of a row by name, and what keeps them from being text or lists of text."""
    problems = [
        f"field `{name}` is not known; remove it, or name it one of: {', '.join(FIELDS)}"
        for name in row
        if name not in FIELDS
    ]
    fields: RawFields = {}
    for name in FIELDS:
        try:
            fields[name] = _texts(row.get(name)) if name in LISTS else _text(row.get(name))
        except ValueError as error:
            problems.append(f"field `{name}` {error}")
    return fields, problems


def _text(cell: object) -> str | None:
    value = _absent_as_none(cell)
    if not (value is None or isinstance(value, str)):
        raise ValueError("must be text; put its value in quotes")
    return value if value is None else _storable(value)


def _texts(cell: object) -> list[str]:
    value = _absent_as_none(cell)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('must be a list of texts; write it as ["…", "…"]')
    return [_storable(item) for item in value]


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds a NUL character; remove it")
    if not is_utf8(text):
        raise ValueError("is not UTF-8 text; correct it")
    return text


def _absent_as_none(value: object) -> object:
    """Parquet has types of its own for what is text elsewhere: dates, and NaN for nothing."""
    if isinstance(value, date):
        return value.isoformat()
    is_nothing = (isinstance(value, float) and math.isnan(value)) or (isinstance(value, str) and not value.strip())
    return None if is_nothing else value


def file_request(
    folder: Path,
    subject_id: str | None,
    record_ids: list[str],
    request_id: str | None,
    legal_basis: str | None,
) -> str:
    """Write one deletion request, received now, as a file of its own into a folder of request files.

    Args:
        folder: made if it is not there.
        subject_id, record_ids, request_id, legal_basis: as in `DeletionRequest`.

    Returns:
        Its request_id, made up from the time when None is given.

    Raises:
        InputError: nothing says what to forget, an id is unusable, or `folder` is a file.
    """
    if folder.is_file():
        raise InputError(f"{folder}: data.requests is a file; make it a folder to file requests one by one")
    received_at = datetime.now(UTC)
    stamp = f"{received_at:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    row = {
        "request_id": request_id or f"R-{stamp}",
        "received_at": received_at.isoformat(),
        "subject_id": subject_id,
        "record_ids": record_ids,
        "legal_basis": legal_basis,
        "source": "unilogit requests add",
    }
    fields, problems = _checked(row)
    problems += [
        f"field `{name}` is empty; fill it in or leave it out"
        for name, value in fields.items()
        if value is None and row.get(name) is not None
    ]
    if problems:
        raise InputError(*problems)
    file = f"request-{stamp}.jsonl"
    request = as_request(fields, file, row=1)
    write_text(folder / file, request.model_dump_json(include=set(FIELDS), exclude_none=True) + "\n")
    return request.request_id
