"""Rows of data files as they come: which files, which lines, what could not even be read.

Shared by corpora and deletion requests; knows nothing of either's fields.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unilogit.errors import InputError
from unilogit.files import Json, JsonObject

PROBLEMS_SHOWN = 10


@dataclass(frozen=True)
class Row:
    """One row of a file, before anybody asked whether its fields make sense.

    Attributes:
        number: 1-based line (JSON lines) or row (Parquet).
        raw: the row as text, for a person to find it again.
        fields: what it holds, or None where it could not be read.
        problem: why it could not be read; empty where it could.
    """

    number: int
    raw: str
    fields: JsonObject | None
    problem: str = ""


def input_files(path: Path | str, suffixes: tuple[str, ...], may_be_empty: bool = False) -> list[Path]:
    """The file `path`, or the files of the folder `path` by name, all with one of `suffixes`.

    Hidden and temporary files are passed over. What else is in the folder is refused, because a
    file silently left out may be the one that holds a person's data.

    Args:
        may_be_empty: whether a folder may hold none.

    Raises:
        InputError: nothing is there, or something there is not of a known kind.
    """
    path = Path(path)
    known = " or ".join([", ".join(suffixes[:-1]), suffixes[-1]])
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder; correct the path")
    entries = [path] if path.is_file() else sorted(path.iterdir(), key=lambda entry: entry.name)
    if path.is_dir():
        entries = [entry for entry in entries if not _is_temporary(entry.name)]
        if not entries and not may_be_empty:
            raise InputError(f"{path}: the folder holds no {known} file; put one there")
    problems = [
        f"{entry}: is a folder; put its files directly into {path}"
        if entry.is_dir()
        else f"{entry}: the kind of file is not known; name it {known}, or take it away"
        for entry in entries
        if entry.is_dir() or entry.suffix.lower() not in suffixes
    ]
    if problems:
        raise InputError(*problems[:PROBLEMS_SHOWN])
    return entries


def _is_temporary(name: str) -> bool:
    return name.startswith((".", "_", "~")) or name.endswith(("~", ".tmp", ".part", ".crdownload", ".swp"))


def read_rows(file: Path) -> Iterator[Row]:
    """Every row of a JSON lines or Parquet file, readable or not; blank lines are passed over.

    Raises:
        InputError: the file holds no rows, cannot be opened, is no Parquet file, or names a column twice.
    """
    rows = _parquet_rows(file) if file.suffix.lower() == ".parquet" else _json_rows(file)
    empty = True
    try:
        for row in rows:
            empty = False
            yield row
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or 'it is damaged'}); write it again") from error
    if empty:
        raise InputError(f"{file}: the file is empty; write its rows, or take the file away")


def _json_rows(file: Path) -> Iterator[Row]:
    with open(file, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            bare = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
            if bare:
                yield _json_row(number, bare)


def _json_row(number: int, line: bytes) -> Row:
    raw = line.decode("utf-8", errors="backslashreplace")
    try:
        return Row(number, raw, _parse_object(line.decode("utf-8")))
    except UnicodeDecodeError:
        problem = "is not UTF-8 text; save the file as UTF-8"
    except json.JSONDecodeError as error:
        where = f"{error.msg.removesuffix(' at').lower()} at character {error.pos + 1}"
        problem = f"is not JSON ({where}); correct or remove the line"
    except ValueError as error:
        problem = f"{error}; correct or remove the line"
    except RecursionError:
        problem = "is nested too deeply; correct or remove the line"
    return Row(number, raw, None, problem)


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


def _parquet_rows(file: Path) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            for name in names:
                if names.count(name) > 1:
                    raise InputError(f"{file}: names the column `{name}` twice; remove one")
            for batch in parquet.iter_batches(batch_size=10_000):
                for fields in batch.to_pylist():
                    number += 1
                    raw = json.dumps(fields, ensure_ascii=False, default=str)
                    yield Row(number, raw, fields)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        where = f"{file}:{number + 1}" if number else f"{file}"
        raise InputError(f"{where}: cannot be read as Parquet; write the file again") from error


def first_problems(problems: list[str], rest: str = "") -> list[str]:
    """The first ten of `problems`, then how many more there are and (`rest`) where to read them."""
    hidden = len(problems) - PROBLEMS_SHOWN
    return problems[:PROBLEMS_SHOWN] + ([f"and {hidden} more{rest}"] if hidden > 0 else [])
