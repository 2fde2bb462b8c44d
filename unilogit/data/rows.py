"""Rows of data files as they come: which files, which lines, what could not even be read.

Shared by corpora and deletion requests; knows nothing of either's fields. How JSON and CSV are read is known by
modules of their own.
"""

import io
import json
from collections.abc import Collection, Generator, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unilogit.data.json_rows import read_json_rows
from unilogit.data.locations import file_name, open_binary
from unilogit.data.packed import PACKED, bare_name
from unilogit.data.parquet_rows import row_batches
from unilogit.data.row import DamagedError, Row, listed, readable_rows
from unilogit.errors import InputError

PROBLEMS_SHOWN = 10


def with_packed(suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """Suffixes of files, then those of the same files packed."""
    return (*suffixes, *(suffix + packing for packing in PACKED for suffix in suffixes))


def kind(name: str) -> str:
    """The suffix that says how a file is read, in lower case: the last one but .gz and .zst."""
    return Path(bare_name(name).lower()).suffix


def stem(name: str) -> str:
    """A file's name without the suffixes that say how it is read."""
    return Path(bare_name(name)).stem


def is_temporary(name: str) -> bool:
    """Whether a file is hidden, or named as programs name what they have not finished."""
    return name.startswith((".", "_", "~")) or name.endswith(("~", ".tmp", ".part", ".crdownload", ".swp"))


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
        entries = [entry for entry in entries if not is_temporary(entry.name)]
        if not entries and not may_be_empty:
            raise InputError(f"{path}: the folder holds no {known} file; put one there")
    problems = [
        f"{entry}: is a folder; put its files directly into {path}"
        if entry.is_dir()
        else f"{entry}: the kind of file is not known; name it {known}, or take it away"
        for entry in entries
        if entry.is_dir() or not entry.name.lower().endswith(suffixes)
    ]
    if problems:
        raise InputError(*problems[:PROBLEMS_SHOWN])
    return entries


def read_rows(file: Path | str, row_fields: Collection[str] = (), name: str | None = None) -> Iterator[Row]:
    """Every row of a JSON, JSON lines or Parquet file, readable or not; blank lines are passed over.

    What is damaged from some row on is one more row, which cannot be read.

    Args:
        file: its path or URL; one that ends in .gz or .zst is unpacked.
        row_fields: a JSON document with one of these fields is a row, not an envelope of rows.
        name: what the file is called in errors.

    Raises:
        UnreadableFile: the file holds no rows, is damaged before its first, or names a column twice.
        InputError: it cannot be opened or read.
    """
    called = name or str(file)
    suffix = kind(file_name(file))
    with open_binary(file, called) as stream:
        if suffix == ".parquet":
            rows = _parquet_rows(stream)
        else:
            rows = read_json_rows(stream, row_fields, is_document=suffix == ".json")
        yield from readable_rows(rows, file, called, "the file is empty; write its rows, or take the file away")


def _parquet_rows(stream: io.BufferedReader) -> Generator[Row, None, None]:
    number = 0
    try:
        with pq.ParquetFile(stream) as parquet:
            names = parquet.schema_arrow.names
            for name in names:
                if names.count(name) > 1:
                    raise DamagedError(f"names the column {listed([name])} twice; remove one")
            for batch in row_batches(parquet, 10_000):
                for fields in batch.to_pylist():
                    number += 1
                    raw = json.dumps(fields, ensure_ascii=False, default=str)
                    yield Row(number, raw, fields)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the system's, not Arrow's
        raise DamagedError("cannot be read as Parquet; write the file again") from error


def first_problems(problems: list[str], rest: str = "") -> list[str]:
    """The first ten of `problems`, then how many more there are and (`rest`) where to read them."""
    hidden = len(problems) - PROBLEMS_SHOWN
    return problems[:PROBLEMS_SHOWN] + ([f"and {hidden} more{rest}"] if hidden > 0 else [])
