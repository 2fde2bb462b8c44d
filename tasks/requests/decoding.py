"""What is written in a file, as strings: whatever the file is, and however a string is escaped in it.

Reads Parquet, SQLite, JSON, JSON lines, PNG's texts, gzip, Zstandard, zip, base64 and text of any kind; not the weights
of models, in which nothing can be read. Knows nothing of what is looked for.
"""

import binascii
import codecs
import gzip
import html
import json
import re
import sqlite3
import struct
import zipfile
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unilogit.data.packed import unpacked
from unilogit.data.parquet_rows import row_batches

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf")
ROWS = 16_384  # of a table at once: bounds memory
_BLOCK = 1 << 22  # bytes of a text at once
_OVERLAP = 4096  # characters of one block that are read again with the next: no string is cut that is looked for
_WHOLE = 1 << 26  # bytes of a file of JSON or base64, up to which it is decoded as a whole
_PARQUET, _SQLITE, _PNG = b"PAR1", b"SQLite format 3\0", b"\x89PNG\r\n\x1a\n"
_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NO_TEXT = re.compile("[\0\ufffd]")
_RUN = re.compile("[^\0-\x08\x0e-\x1b\x7f\ufffd]{4,}")
_ESCAPED = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def is_parquet(file: Path) -> bool:
    with open(file, "rb") as stream:
        return stream.read(4) == _PARQUET


def read_strings(file: Path) -> Iterator[list[str]]:
    """All strings of a file, some at a time, in a bounded part of memory; none of a model's weights.

    Raises:
        OSError, sqlite3.Error, pa.ArrowException, ValueError: it is of a known kind, but cannot be read as that.
    """
    if file.suffix in WEIGHTS:
        return
    with open(file, "rb") as stream:
        start = stream.read(16)
        stream.seek(0)
        if start.startswith(_PARQUET):
            yield from _parquet(file)
        elif start.startswith(_SQLITE):
            yield from _cells(file)
            yield from _texts(stream)
        elif start.startswith(_GZIP):
            with gzip.open(stream) as contents:
                yield from _texts(contents)  # type: ignore[arg-type]
        elif start.startswith(_ZSTD):
            yield from _texts(unpacked(stream, ".zst"))
        elif start.startswith(_ZIP):
            yield from _members(stream)
        elif start.startswith(_PNG):
            yield _png_texts(stream.read())
        else:
            yield from _decoded(stream, file.stat().st_size)


def read_line(line: bytes) -> list[str]:
    """The strings of one line of JSON lines; of one that is no JSON, the line."""
    text = line.decode("utf-8", "replace")
    try:
        return list(_json_strings(text))
    except (ValueError, RecursionError):
        return list(_views(text))


def columns(batch: pa.RecordBatch) -> Iterator[tuple[list[str], list[int]]]:
    """The strings of each column of a table, those within lists and structures too, with the row of each."""
    for column in batch.columns:
        yield from _strings(column, pa.array(range(len(column))))


def _strings(column: pa.Array, rows: pa.Array) -> Iterator[tuple[list[str], list[int]]]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        known = column.is_valid()
        yield column.filter(known).to_pylist(), rows.filter(known).to_pylist()
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        known = column.is_valid()
        said = [content.decode("utf-8", "replace") for content in column.filter(known).to_pylist()]
        yield said, rows.filter(known).to_pylist()
    elif pa.types.is_map(kind):
        entries = column.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        yield from _strings(entries, rows)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _strings(pc.list_flatten(column), rows.take(pc.list_parent_indices(column)))
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _strings(part, rows)


def _parquet(file: Path) -> Iterator[list[str]]:
    with pq.ParquetFile(file) as table:
        for batch in row_batches(table, ROWS):
            for said, _ in columns(batch):
                yield said


def _cells(file: Path) -> Iterator[list[str]]:
    """Of every table: a long text may be spread over pages, so that it is not found in the file's bytes."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        database.text_factory = lambda content: content.decode("utf-8", "replace")
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'")
        for (table,) in tables.fetchall():
            rows = database.execute(f'SELECT * FROM "{table}"')
            while some_rows := rows.fetchmany(ROWS):
                cells = [cell for row in some_rows for cell in row]
                said = [cell for cell in cells if isinstance(cell, str)]
                said += [cell.decode("utf-8", "replace") for cell in cells if isinstance(cell, bytes)]
                yield [view for cell in said for view in _views(cell)]


def _members(stream: BinaryIO) -> Iterator[list[str]]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            with archive.open(member) as unpacked:
                yield from _texts(unpacked)  # type: ignore[arg-type]


def _png_texts(content: bytes) -> list[str]:
    """Of the chunks tEXt, zTXt and iTXt: keyword and text."""
    said, place = [], len(_PNG)
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        data = content[place + 8 : place + 8 + length]
        place += length + 12
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        keyword, _, text = data.partition(b"\0")
        if kind == b"zTXt":
            text = zlib.decompress(text[1:])
        elif kind == b"iTXt":
            is_packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]  # after language and translated keyword
            text = zlib.decompress(text) if is_packed else text
        said += [keyword.decode("latin-1"), text.decode("utf-8", "replace")]
    return said


def _decoded(stream: BinaryIO, size: int) -> Iterator[list[str]]:
    """A text as what it means, if it is JSON or base64, and as it is."""
    if size <= _WHOLE:
        content = stream.read()
        stream.seek(0)
        if content.lstrip()[:1] in (b"{", b"["):
            with suppress(ValueError, RecursionError):
                yield list(_json_strings(content.decode("utf-8-sig")))
                return
        if re.fullmatch(rb"[A-Za-z0-9+/\s]+=*\s*", content):  # as Prefect keeps exceptions
            with suppress(binascii.Error):
                yield list(_views(b64decode(content).decode("utf-8", "replace")))
    yield from _texts(stream)


def _json_strings(text: str) -> Iterator[str]:
    """Every string of a JSON value, or of a value a line.

    Raises:
        ValueError: it is neither.
    """
    try:
        yield from _strings_in(json.loads(text))
    except json.JSONDecodeError:
        for line in text.splitlines():
            if line.strip():
                yield from _strings_in(json.loads(line))


def _strings_in(value: object) -> Iterator[str]:
    match value:
        case str():
            yield from _views(value)
            if value.lstrip()[:1] in ("{", "["):
                with suppress(ValueError, RecursionError):
                    yield from _strings_in(json.loads(value))
        case dict():
            for name, part in value.items():
                yield from _views(name)
                yield from _strings_in(part)
        case list():
            for part in value:
                yield from _strings_in(part)


def _texts(stream: BinaryIO) -> Iterator[list[str]]:
    """A text block by block, each with the end of the one before."""
    block = stream.read(_BLOCK)
    encoding = next((name for mark, name in _MARKS if block.startswith(mark)), "utf-8")
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    text = ""
    while block:
        text = text[-_OVERLAP:] + decoder.decode(block)
        yield list(_views(text))
        block = stream.read(_BLOCK)


def _views(text: str) -> Iterator[str]:
    """A text as it is, and as it reads where it is escaped as in HTML, in JSON or in CSV."""
    if _NO_TEXT.search(text):
        yield from _printable(text)
        return
    yield _sound(text)
    if "&" in text:
        yield _sound(html.unescape(text))
    if "\\" in text:
        yield _sound(_ESCAPED.sub(_unescaped, text))
    if '""' in text:
        yield _sound(text.replace('""', '"'))


def _printable(text: str) -> list[str]:
    """What can be read in the bytes of a binary file: what is in ASCII, and the rest, which takes longer to compare."""
    runs = [part for run in _RUN.findall(text) for part in (run, run[1:])]  # a byte before a string may be its length
    return ["\1".join(run for run in runs if run.isascii() == is_plain) for is_plain in (True, False)]


def _sound(text: str) -> str:
    """With what JSON writes as two surrogates as the character that they are, and with no surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _unescaped(escape: re.Match[str]) -> str:
    code, letter = escape.groups()
    return chr(int(code, 16)) if code else _ESCAPES.get(letter, letter)
