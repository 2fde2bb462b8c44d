"""Rows of JSON: one object a line, a list of objects, an envelope around such a list, or one object.

Told apart by what is there, not by the file's name alone. Knows nothing of what fields mean.
"""

import io
import json
import re
from collections.abc import Collection, Generator, Iterator

from unilogit.data.locations import as_text, escaped, is_utf8
from unilogit.data.row import DamagedError, Row
from unilogit.files import Json, JsonObject

_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_LIST_OF_OBJECTS = re.compile(r"\[[ \t\r\n]*\{")
_BLOCK = 1 << 16  # characters
_DECODER = json.JSONDecoder()


def read_json_rows(
    stream: io.BufferedReader, row_fields: Collection[str], is_document: bool
) -> Generator[Row, None, None]:
    """Every row, readable or not, by line (one object a line) or by its place in the list.

    Only a line feed ends a line: U+2028 and its like may stand within.

    Args:
        row_fields: a document with one of these fields is a row, not an envelope of rows.
        is_document: the file's name promises one document, not lines.

    Raises:
        DamagedError: from here on the document is not JSON.
    """
    with as_text(stream, line_end="\n") as text:
        head = text.read(_BLOCK)
    start = head[_after_space(head, 0) :]
    first = start.partition("\n")[0].strip()
    with as_text(stream, line_end="\n") as text:
        if _LIST_OF_OBJECTS.match(start) or (is_document and start.startswith("[")):
            yield from _list_rows(text)
        elif start.startswith("{") and (first == "{" or (is_document and not _is_line(first, start))):
            yield from _document_rows(text.read(), row_fields)
        else:
            for number, line in enumerate(text, start=1):
                if bare := line.strip(" \t\r\n\ufeff"):
                    yield _json_row(number, bare)


def _is_line(first: str, start: str) -> bool:
    """Whether an object ends with its line, and there is more behind it."""
    if len(first) == len(start.rstrip()):
        return False
    try:
        _DECODER.decode(first)
    except (ValueError, RecursionError):
        return False
    return True


def _list_rows(text: io.TextIOWrapper) -> Iterator[Row]:
    """The entries of a list, one after another: the list as a whole is never held."""
    buffer = text.read(_BLOCK)
    place, number = buffer.index("[") + 1, 0
    while True:
        begin = _after_space(buffer, place)
        if buffer.startswith("]", begin):
            if (buffer[begin + 1 :] + text.read()).strip():
                raise DamagedError("holds more behind the end of its list; write one list, or an object a line")
            return
        try:
            if number:
                begin = _after_comma(buffer, begin)
            _, end = _DECODER.raw_decode(buffer, begin)
            if _after_space(buffer, end) == len(buffer):
                raise json.JSONDecodeError("there is no end", buffer, end)
        except json.JSONDecodeError as error:
            if more := text.read(max(_BLOCK, len(buffer))):  # it may be the block's end that is in the way
                buffer, place = buffer[place:] + more, 0
                continue
            raise DamagedError(f"is not JSON ({_said(error)}); correct it and write the file again") from error
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{_why(error)}; correct it and write the file again") from error
        number += 1
        yield _json_row(number, buffer[begin:end])
        place = end


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _after_comma(text: str, place: int) -> int:
    if not text.startswith(",", place):
        raise json.JSONDecodeError("expecting ',' delimiter", text, place)
    return _after_space(text, place + 1)


def _document_rows(text: str, row_fields: Collection[str]) -> Iterator[Row]:
    """The objects of the one list that an envelope holds, or the object itself."""
    row = _json_row(1, text.strip(" \t\r\n\ufeff"))
    if row.fields is None:
        raise DamagedError(row.problem)
    lists = [
        value
        for value in row.fields.values()
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value)
    ]
    if len(lists) != 1 or not set(row_fields).isdisjoint(row.fields):
        yield row
        return
    for number, fields in enumerate(lists[0], start=1):
        yield Row(number, json.dumps(fields, ensure_ascii=False), fields)


def _json_row(number: int, text: str) -> Row:
    if not text.isascii() and not is_utf8(text):
        return Row(number, escaped(text), None, "is not UTF-8 text; save the file as UTF-8")
    try:
        return Row(number, text, _parse_object(text))
    except json.JSONDecodeError as error:
        problem = f"is not JSON ({_said(error)}); correct or remove the line"
    except (ValueError, RecursionError) as error:
        problem = f"{_why(error)}; correct or remove the line"
    return Row(number, text, None, problem)


def _said(error: json.JSONDecodeError) -> str:
    return f"{error.msg.removesuffix(' at').lower()} at character {error.pos + 1}"


def _why(error: ValueError | RecursionError) -> str:
    return "is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _parse_object(text: str) -> JsonObject:
    if not text.startswith("{"):
        raise ValueError("is not a JSON object in braces")
    fields: JsonObject = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    if "\\u" in text:
        try:
            json.dumps(fields, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError("holds half a character (a lone surrogate)") from error
    return fields


def _without_repeats(pairs: list[tuple[str, Json]]) -> JsonObject:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("gives the same field twice")
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"holds {name}, which is not JSON")
