"""Rows of a CSV file as they come, however its cells are quoted. Knows nothing of what its columns mean."""

import csv
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from unilogit.data.rows import Row
from unilogit.errors import InputError
from unilogit.files import JsonObject

Record = tuple[int, str, list[str], str]  # first physical line, text, cells, and why it has none


def read_csv_rows(file: Path, required: Collection[str], lists: Collection[str]) -> Iterator[Row]:
    """Every row under the header, readable or not; blank lines are passed over.

    Args:
        file: UTF-8, with a byte order mark or without.
        required: columns that the header must have.
        lists: columns whose cells are lists, their items apart by semicolons.

    Returns:
        Rows by the number of their first physical line, the file's first being 1.

    Raises:
        InputError: the file holds no rows or cannot be opened, or its header is unreadable, lacks a required
            column or names one twice.
    """
    # The module's own limit of 128 KiB a cell would cut a long text in two and read its rest as rows.
    csv.field_size_limit(sys.maxsize)
    try:
        with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            records = _records(stream)
            header = _header(file, next(records, None), required)
            number = 0
            for number, raw, cells, problem in records:
                row = _row(number, raw, header, cells, problem, lists)
                last = number + raw.count("\n")
                if row.problem and last > number:
                    row = replace(row, problem=f"{row.problem} (a quote joins lines {number} to {last} into one row)")
                yield row
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); make it readable") from error
    if not number:
        raise InputError(f"{file}: there are no rows under the header; write them, or take the file away")


def is_utf8(text: str) -> bool:
    """Whether a text can be written in UTF-8: it holds no half of a character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _records(stream: Iterable[str]) -> Iterator[Record]:
    """Every record with anything in it, the header too."""
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


def _header(file: Path, record: Record | None, required: Collection[str]) -> list[str]:
    if record is None:
        raise InputError(f"{file}: the file is empty; write a header and rows, or take the file away")
    line, raw, cells, problem = record
    where = f"{file}:{line}"
    names = [cell.strip() for cell in cells]
    if problem or not is_utf8(raw):
        raise InputError(f"{where}: the header {problem or 'is not UTF-8 text; save the file as UTF-8'}")
    for name in required:
        if name not in names:
            raise InputError(f"{where}: the header lacks the column `{name}`; add it, with commas between columns")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{where}: the header names the column `{name}` twice; remove one")
    return names


def _row(number: int, raw: str, header: list[str], cells: list[str], problem: str, lists: Collection[str]) -> Row:
    if not is_utf8(raw):
        raw = raw.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")
        return Row(number, raw, None, "is not UTF-8 text; save the file as UTF-8")
    if problem:
        return Row(number, raw, None, problem)
    if len(cells) != len(header):
        wrong = f"has {len(cells)} columns where the header has {len(header)}"
        return Row(number, raw, None, f"{wrong}; put a cell that holds commas in double quotes")
    fields: JsonObject = dict(zip(header, cells, strict=True))
    for name in set(lists) & set(header):
        fields[name] = [item.strip() for item in fields[name].split(";") if item.strip()]
    return Row(number, raw, fields)
