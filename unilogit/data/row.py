"""One row of a data file as it comes, and what to say when a file ends in the midst. Knows of no format."""

import re
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from unilogit.data.locations import DAMAGED, UnreadableFile, reaching
from unilogit.files import JsonObject

_PLAIN_NAME = re.compile(r"[A-Za-z][\w .-]{0,60}")
_MOST_SHOWN = 10


@dataclass(frozen=True)
class Row:
    """One row of a file, before anybody asked whether its fields make sense.

    Attributes:
        number: 1-based line (CSV, JSON lines), row (Parquet) or place in the list (JSON).
        raw: the row as text, for a person to find it again.
        fields: what it holds, or None where it could not be read.
        problem: why it could not be read; empty where it could.
    """

    number: int
    raw: str
    fields: JsonObject | None
    problem: str = ""


def listed(names: Collection[str], hints: Mapping[str, str] = MappingProxyType({})) -> str:
    """Names of columns for a sentence, with their hints; what may be somebody's data, or too many, is only counted."""
    shown = [name for name in names if _PLAIN_NAME.fullmatch(name)][:_MOST_SHOWN]
    hidden = len(names) - len(shown)
    return ", ".join([f"`{name}`{hints.get(name, '')}" for name in shown] + ([f"{hidden} more"] if hidden else []))


class DamagedError(Exception):
    """The rest of a file cannot be read; says why and what to do."""


def readable_rows(rows: Generator[Row, None, None], location: Path | str, name: str, empty: str) -> Iterator[Row]:
    """`rows`; what is damaged from some row on is one more row, which cannot be read.

    Args:
        name: what the file is called in errors.
        empty: what to say of a file without rows.

    Raises:
        UnreadableFile: the file holds no rows, or is damaged before its first.
        InputError: it can be reached no longer.
    """
    number = 0
    try:
        with reaching(location, name), closing(rows):
            for row in rows:
                number = row.number
                yield row
    except (DamagedError, *DAMAGED) as error:
        reason = "ends too early; write it again" if isinstance(error, EOFError) else "is damaged; write it again"
        if isinstance(error, DamagedError):
            reason = str(error)
        if not number:
            raise UnreadableFile(name, reason) from error
        yield Row(number + 1, "", None, f"from here on the file cannot be read: it {reason}")
        return
    if not number:
        raise UnreadableFile(name, empty)
