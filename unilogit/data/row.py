"""One row of a data file as it comes, and what to say when a file ends in the midst. Knows of no format."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from unilogit.data.locations import DAMAGED, UnreadableFile, reaching
from unilogit.files import JsonObject


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
