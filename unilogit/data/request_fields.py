"""The fields of a deletion request as exports, spreadsheets and databases write them, made text and lists of text.

Knows the names of the fields and how identifiers, times and lists are spelt. Knows nothing of files, nor whether a
request makes sense.
"""

import io
import json
import math
import re
import tokenize
from ast import literal_eval
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches

from unilogit.data.cells import identifier
from unilogit.data.locations import is_utf8
from unilogit.data.row import listed

FIELDS = (
    *("request_id", "received_at", "subject_id", "aliases", "record_ids", "text", "legal_basis", "due_at", "source"),
)
REQUIRED = ("request_id", "received_at")
LISTS = ("aliases", "record_ids")
IDENTIFIERS = ("request_id", "subject_id", *LISTS)
TIMES = ("received_at", "due_at")

RawFields = dict[str, str | list[str] | None]

# What spreadsheets make of numbers: 4711.0, 4711,0 and 1.23457E+15.
_SPREADSHEET_NUMBER = re.compile(r"\s*[+-]?[0-9]+(?:[.,]0+|(?:[.,][0-9]+)?[eE][+-][0-9]+)\s*")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Of 10 digits: seconds, from 2001 to 2286. Of 13: milliseconds of the same years; as seconds they were of the year
# 33658. Any other number may be a date without hyphens or a spreadsheet's day.
_EPOCH = re.compile(r"([0-9]{10})(\.[0-9]+)?|([0-9]{13})")
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def column_name(name: str) -> str:
    """A column's name as names are compared: case, hyphens and spaces make no difference."""
    return re.sub(r"[\s-]+", "_", name.strip()).lower()


def closest_field(name: str, fields: Iterable[str]) -> str | None:
    """The field that a name is perhaps a misspelling of."""
    matches = get_close_matches(column_name(name), list(fields), n=1, cutoff=0.8)
    return matches[0] if matches else None


def passed_over(names: Iterable[str], missing: Iterable[str]) -> str:
    """A sentence about columns that are passed over.

    Args:
        names: as they were written.
        missing: the fields that are absent beside them.
    """
    closest = {name: closest_field(name, missing) for name in names}
    hints = {name: f" (did you mean `{field}`?)" for name, field in closest.items() if field}
    return f"passed over what is no field of a request: {listed(closest, hints)}"


def read_fields(row: Mapping[str, object], is_csv: bool) -> tuple[RawFields, list[str]]:
    """The fields of a row by their names here, and what keeps them from being text or lists of text.

    Args:
        row: cells by field of FIELDS.
        is_csv: the cells are those of a CSV file, which spreadsheets may have rewritten.
    """
    problems: list[str] = []
    fields: RawFields = {}
    for name, read in _READERS.items():
        cell = row.get(name)
        if not cell and (cell is None or cell in ("", [])):
            fields[name] = [] if name in LISTS else None
            continue
        try:
            fields[name] = read(cell, is_csv)
        except ValueError as error:
            problems.append(f"field `{name}` {error}")
    return fields, problems


def _text(cell: object, _: bool) -> str | None:
    if not isinstance(cell, str):
        if isinstance(cell, float) and math.isnan(cell):
            return None  # how Parquet files from dataframes say that there is nothing
        raise ValueError("must be text; put its value in quotes")
    return _storable(cell) if cell.strip() else None


def _identifier(cell: object, is_csv: bool) -> str | None:
    """Text as it is written, or a whole number in digits."""
    if isinstance(cell, str):
        if is_csv and _SPREADSHEET_NUMBER.fullmatch(cell):
            words = "reads like a number that a spreadsheet has rewritten (4711.0, 1.2E+15)"
            raise ValueError(f"{words}, so that nobody knows the id; format its column as text and export it again")
        return _text(cell, is_csv)
    return identifier(cell)


def _texts(cell: object, is_csv: bool) -> list[str]:
    if (isinstance(cell, float) and math.isnan(cell)) or (isinstance(cell, str) and not cell.strip()):
        return []
    if not isinstance(cell, list) or any(item is None for item in cell):
        raise ValueError('must be a list of texts; write it as ["…", "…"]')
    return [_identifier(item, is_csv) or "" for item in cell]


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds a NUL character; remove it")
    if not text.isascii() and not is_utf8(text):
        raise ValueError("is not UTF-8 text; correct it")
    return text


def _time(cell: object, is_csv: bool) -> str | None:
    """A time in the form of RFC 3339 wherever the cell says one; other text as it is."""
    match cell:
        case datetime():
            return cell.isoformat()
        case date():
            return f"{cell.isoformat()}T00:00:00Z"
        case float() if math.isnan(cell):
            return None
        case bool():
            raise ValueError("must be a time, not true or false; write it like 2025-03-01T12:00:00Z")
        case int() | float():
            return _since_1970(str(cell))
    text = (_text(cell, is_csv) or "").strip()
    if _DATE.fullmatch(text):
        return f"{text}T00:00:00Z"
    return _since_1970(text) if text.replace(".", "", 1).isdecimal() else text or None


def _since_1970(text: str) -> str:
    epoch = _EPOCH.fullmatch(text)
    if epoch is None:
        words = "is a number, but neither seconds (10 digits) nor milliseconds (13 digits) since 1970"
        raise ValueError(f"{words}; write it like 2025-03-01T12:00:00Z")
    seconds, fraction, milliseconds = epoch.groups()
    elapsed = timedelta(milliseconds=int(milliseconds)) if milliseconds else timedelta(seconds=int(seconds))
    return (_1970 + elapsed + timedelta(seconds=float(fraction or 0))).isoformat()


def csv_list(cell: object) -> object:
    """The list that one cell of a CSV file holds: of JSON, as Python prints it, or its items apart by semicolons."""
    if not cell:
        return []
    if not isinstance(cell, str) or not (bare := cell.strip()).startswith("["):
        return [item.strip() for item in str(cell).split(";") if item.strip()]
    try:
        items = json.loads(bare)
    except (ValueError, RecursionError):
        items = _printed_list(bare)
    if not isinstance(items, list):
        raise ValueError('begins like a list and is none; write it as ["…", "…"], or its items apart by semicolons')
    return items


def _printed_list(text: str) -> list[object] | None:
    """The items of a list as Python or NumPy prints it, with or without commas; None where it is none."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return None
    kinds = (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)
    words = [token for token in tokens if token.type not in kinds]
    if len(words) < 2 or words[0].string != "[" or words[-1].string != "]":
        return None
    items: list[object] = []
    place = words[0].end
    for word in words[1:-1]:
        if word.type in (tokenize.STRING, tokenize.NUMBER):
            if items and word.start == place:
                return None  # 007 is read as 00 and 7
            try:
                items.append(literal_eval(word.string))
            except (ValueError, SyntaxError):
                return None
            place = word.end
        elif word.string == ",":
            place = (0, 0)
        else:
            return None
    return items


_READERS: dict[str, Callable[[object, bool], str | list[str] | None]] = {
    name: _texts if name in LISTS else _time if name in TIMES else _identifier if name in IDENTIFIERS else _text
    for name in FIELDS
}
