"""Rows of a CSV file as they come, however its cells are apart and quoted. Knows nothing of what its columns mean."""

import csv
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from unilogit.data.locations import as_text, escaped, is_utf8, open_binary
from unilogit.data.row import DamagedError, Row, listed, readable_rows
from unilogit.files import JsonObject

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_DECLARED = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # how Excel says it in a line of its own before the header
_EMPTY = "the file is empty; write a header and rows, or take the file away"

Record = tuple[int, str, list[str], str]  # first physical line, text, cells, and why it has none
MissingColumns = Callable[[list[str]], list[str]]


def read_csv_rows(file: Path | str, missing_columns: MissingColumns, name: str | None = None) -> Iterator[Row]:
    """Every row under the header, readable or not; blank lines are passed over.

    Args:
        file: path or URL of a file in UTF-8, or in UTF-16 with a byte order mark. Its cells are apart by commas,
            semicolons or tabs: by those between which the header has the columns that it must have.
        missing_columns: which columns a header must have and has not.
        name: what the file is called in errors.

    Returns:
        Rows by the number of their first physical line, the file's first being 1.

    Raises:
        UnreadableFile: the file holds no rows, or its header is unreadable, lacks a column that it must have or
            names one twice.
        InputError: the file cannot be opened or read.
    """
    # The module's own limit of 128 KiB a cell would cut a long text in two and read its rest as rows.
    csv.field_size_limit(sys.maxsize)
    called = name or str(file)
    empty = "there are no rows under the header; write them, or take the file away"
    yield from readable_rows(_file_rows(file, missing_columns, called), file, called, empty)


def _file_rows(file: Path | str, missing_columns: MissingColumns, name: str) -> Generator[Row, None, None]:
    with open_binary(file, name) as stream, as_text(stream, line_end="") as text:
        yield from _rows(text, missing_columns)


def _rows(text: Iterable[str], missing_columns: MissingColumns) -> Iterator[Row]:
    lines = iter(text)
    number, head = _first_line(lines, 1)
    delimiters = list(_DELIMITERS)
    if declared := _DECLARED.fullmatch(head):
        delimiters = [declared[1]]
        number, head = _first_line(lines, number + 1)
    taken = [head]  # the lines that the header was looked for in
    headers = {delimiter: record for delimiter in delimiters if (record := _first_record(taken, lines, delimiter))}
    if not headers:
        raise DamagedError(_EMPTY)
    delimiter, header = _header(headers, missing_columns, number)
    records = _records(chain(taken, lines), delimiter, number)
    next(records)
    for start, raw, cells, problem in records:
        row = _row(start, raw, header, cells, problem)
        last = start + raw.count("\n")
        if row.problem and last > start:
            row = replace(row, problem=f"{row.problem} (a quote joins lines {start} to {last} into one row)")
        yield row


def _first_line(lines: Iterator[str], number: int) -> tuple[int, str]:
    """The next line with anything in it, and its number."""
    for place, line in enumerate(lines, start=number):
        if line.strip():
            return place, line
    raise DamagedError(_EMPTY)


def _first_record(taken: list[str], lines: Iterator[str], delimiter: str) -> Record | None:
    """The first record by a delimiter; `taken` grows by the lines that it goes on through."""

    def replayed() -> Iterator[str]:
        yield from list(taken)
        for line in lines:
            taken.append(line)
            yield line

    return next(_records(replayed(), delimiter, 1), None)


def _records(lines: Iterable[str], delimiter: str, number: int) -> Iterator[Record]:
    """Every record with anything in its cells, the header too.

    Args:
        number: of the first line.
    """
    taken: list[str] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    reader = csv.reader(remembered(), delimiter=delimiter, strict=True)
    while True:
        problem = ""
        try:
            cells = next(reader, None)
        except csv.Error as error:
            cells, problem = [], f"is not CSV ({error}); close every quote, and double a quote inside quotes"
        if cells is None:
            return
        raw = "".join(taken).rstrip("\r\n")
        if raw.strip() and (problem or any(map(str.strip, cells))):
            yield number, raw, cells, problem
        number += len(taken)
        taken.clear()


def _header(headers: dict[str, Record], missing_columns: MissingColumns, line: int) -> tuple[str, list[str]]:
    """The delimiter and its header."""
    problems = {delimiter: problem or _unreadable(raw) for delimiter, (_, raw, _, problem) in headers.items()}
    names = {mark: [cell.strip() for cell in headers[mark][2]] for mark, problem in problems.items() if not problem}
    lacking = {delimiter: missing_columns(cells) for delimiter, cells in names.items()}
    whole = [delimiter for delimiter, columns in lacking.items() if not columns]
    if not whole and (broken := [problem for problem in problems.values() if problem]):
        raise DamagedError(f"line {line}: the header {broken[0]}")
    if len(whole) > 1:
        words = " and between ".join(_DELIMITERS[delimiter] for delimiter in whole)
        raise DamagedError(
            f"line {line}: the header has its columns between {words}; put names that hold them in quotes"
        )
    if not whole:
        nearest = max(names, key=lambda delimiter: len(names[delimiter]) - 100 * len(lacking[delimiter]))
        columns = " and ".join(f"`{column}`" for column in lacking[nearest])
        raise DamagedError(
            f"line {line}: the header lacks the column {columns}; add it, columns apart by commas, semicolons or tabs"
        )
    (delimiter,) = whole
    header = names[delimiter]
    for name in filter(None, header):
        if header.count(name) > 1:
            raise DamagedError(f"line {line}: the header names the column {listed([name])} twice; remove one")
    return delimiter, header


def _unreadable(raw: str) -> str:
    """Why a text is none; empty where it is. NUL characters are what UTF-16 looks like without its mark."""
    return "" if is_utf8(raw) and "\0" not in raw else "is not UTF-8 text; save the file as UTF-8"


def _row(number: int, raw: str, header: list[str], cells: list[str], problem: str) -> Row:
    if not raw.isascii() and not is_utf8(raw):
        return Row(number, escaped(raw), None, "is not UTF-8 text; save the file as UTF-8")
    if problem:
        return Row(number, raw, None, problem)
    if len(cells) != len(header):
        wrong = f"has {len(cells)} columns where the header has {len(header)}"
        return Row(number, raw, None, f"{wrong}; put a cell that holds what stands between columns in double quotes")
    fields: JsonObject = dict(zip(header, cells, strict=True))
    if "" in fields:  # columns without a name, which spreadsheets leave behind; some hold something all the same
        del fields[""]
        fields |= {
            f"column {place}": cell
            for place, (column, cell) in enumerate(zip(header, cells, strict=True), start=1)
            if not column and cell.strip()
        }
    return Row(number, raw, fields)
