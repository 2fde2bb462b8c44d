"""Deletion requests as files bring them: CSV, JSON lines or Parquet, row by row, losing nothing.

Splits every file into rows that can be read and rows that cannot, and files single requests. Does not judge
what the fields say: a date may be no date yet, an identifier may be missing.
"""

import csv
import math
import secrets
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unilogit.data.records import explain
from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.data.rows import Row, input_files, read_rows
from unilogit.errors import InputError
from unilogit.files import write_text

FIELDS = ("request_id", "received_at", "subject_id", "record_ids", "text", "legal_basis", "due_at", "source")
REQUIRED = ("request_id", "received_at")
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
        for row in _csv_rows(file) if file.suffix.lower() == ".csv" else read_rows(file):
            fields, problems = ({}, [row.problem]) if row.fields is None else _checked(row.fields)
            if problems:
                rejections.append(Rejection(file=file.name, row=row.number, reasons=problems, raw=row.raw))
            else:
                requests.append(RawRequest(file.name, row.number, fields))
    return requests, rejections


def _checked(given: dict[str, Any]) -> tuple[RawFields, list[str]]:
    """The fields of a row by name, and what keeps them from being text or lists of text."""
    problems = [
        f"field `{name}` is not known; remove it, or name it one of: {', '.join(FIELDS)}"
        for name in given
        if name not in FIELDS
    ]
    fields: RawFields = {}
    for name in FIELDS:
        value = _absent_as_none(given.get(name))
        texts = [value] if isinstance(value, str) else value or []
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if name == "record_ids" and not (value is None or is_list):
            problems.append('field `record_ids` must be a list of texts; write it as ["…", "…"]')
        elif name != "record_ids" and not (value is None or isinstance(value, str)):
            problems.append(f"field `{name}` must be text; put its value in quotes")
        elif any("\x00" in item for item in texts):
            problems.append(f"field `{name}` holds a NUL character; remove it")
        elif not all(map(_is_utf8, texts)):
            problems.append(f"field `{name}` is not UTF-8 text; correct it")
        else:
            fields[name] = value or [] if name == "record_ids" else value
    return fields, problems


def _absent_as_none(value: Any) -> Any:
    """Parquet has types of its own for what is text elsewhere: dates, and NaN for nothing."""
    if isinstance(value, date):
        return value.isoformat()
    is_nothing = (isinstance(value, float) and math.isnan(value)) or (isinstance(value, str) and not value.strip())
    return None if is_nothing else value


def _csv_rows(file: Path) -> Iterator[Row]:
    # The module's own limit of 128 KiB a cell would cut a long text in two and read its rest as rows.
    csv.field_size_limit(sys.maxsize)
    try:
        with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            records = _csv_records(stream)
            header = _header(file, next(records, None))
            number = 0
            for number, raw, cells, problem in records:
                row = _csv_row(number, raw, header, cells, problem)
                last = number + raw.count("\n")
                if row.problem and last > number:
                    row = replace(row, problem=f"{row.problem} (a quote joins lines {number} to {last} into one row)")
                yield row
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
    if not number:
        raise InputError(f"{file}: there are no rows under the header; write them, or take the file away")


def _csv_records(stream: Iterable[str]) -> Iterator[tuple[int, str, list[str], str]]:
    """Each record's first physical line, text and cells, or why it has none; blank lines are passed over."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in stream:
            taken.append(line)
            yield line

    reader = csv.reader(lines(), strict=True)
    number = 1
    while True:
        problem = ""
        try:
            cells = next(reader, None)
        except csv.Error as error:
            cells, problem = [], f"is not CSV ({error}); close every quote, and double a quote inside quotes"
        if cells is None:
            return
        raw = "".join(taken).rstrip("\r\n")
        if raw.strip():
            yield number, raw, cells, problem
        number += len(taken)
        taken.clear()


def _header(file: Path, record: tuple[int, str, list[str], str] | None) -> list[str]:
    if record is None:
        raise InputError(f"{file}: the file is empty; write a header and rows, or take the file away")
    line, raw, cells, problem = record
    where = f"{file}:{line}"
    names = [cell.strip() for cell in cells]
    if problem or not _is_utf8(raw):
        raise InputError(f"{where}: the header {problem or 'is not UTF-8 text; save the file as UTF-8'}")
    for name in REQUIRED:
        if name not in names:
            raise InputError(f"{where}: the header lacks the column `{name}`; add it, with commas between columns")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{where}: the header names the column `{name}` twice; remove one")
    return names


def _csv_row(number: int, raw: str, header: list[str], cells: list[str], problem: str) -> Row:
    if not _is_utf8(raw):
        raw = raw.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")
        return Row(number, raw, None, "is not UTF-8 text; save the file as UTF-8")
    if problem:
        return Row(number, raw, None, problem)
    if len(cells) != len(header):
        wrong = f"has {len(cells)} columns where the header has {len(header)}"
        return Row(number, raw, None, f"{wrong}; put a cell that holds commas in double quotes")
    fields: dict[str, Any] = dict(zip(header, cells, strict=True))
    if "record_ids" in fields:
        fields["record_ids"] = [item.strip() for item in fields["record_ids"].split(";") if item.strip()]
    return Row(number, raw, fields)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def file_request(
    folder: Path,
    subject_id: str | None,
    record_ids: list[str],
    request_id: str | None,
    legal_basis: str | None,
) -> str:
    """Write one deletion request, received now, as a file of its own into a folder of request files.

    Returns:
        Its request_id, made up from the time when None is given.

    Raises:
        InputError: nothing says what to forget, an id is unusable, or `folder` is a file.
    """
    if folder.is_file():
        raise InputError(f"{folder}: data.requests is a file; make it a folder to file requests one by one")
    received_at = datetime.now(UTC)
    stamp = f"{received_at:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    given = {
        "request_id": request_id or f"R-{stamp}",
        "received_at": received_at.isoformat(),
        "subject_id": subject_id,
        "record_ids": record_ids,
        "legal_basis": legal_basis,
        "source": "unilogit requests add",
    }
    fields, problems = _checked(given)
    problems += [
        f"field `{name}` is empty; fill it in or leave it out"
        for name, value in fields.items()
        if value is None and given.get(name) is not None
    ]
    if problems:
        raise InputError(*problems)
    try:
        request = DeletionRequest.model_validate({name: value for name, value in fields.items() if value})
    except ValidationError as error:
        raise InputError(*explain(error)) from None
    write_text(
        folder / f"request-{stamp}.jsonl",
        request.model_dump_json(include=set(FIELDS), exclude_none=True) + "\n",
    )
    return request.request_id
