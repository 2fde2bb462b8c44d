"""Records of a Parquet corpus whose record_id another record has before them; found out of core.

Knows a corpus as a file. Knows nothing of what becomes of the repeats.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from unilogit.data.corpus_forms import MADE_ID
from unilogit.data.matching import all_but, connect, quoted, stream
from unilogit.data.records import PLACES
from unilogit.files import atomic_path

_REPEATS = """
CREATE TEMP TABLE repeats AS
    SELECT row_number, first_number FROM corpus
    JOIN (SELECT record_id, min(row_number) AS first_number FROM corpus GROUP BY record_id HAVING count(*) > 1)
    USING (record_id)
    WHERE row_number > first_number
"""
_RECORDS = f"""
    SELECT corpus.* EXCLUDE (row_number), {", ".join(f"first.{name} AS first_{name}" for name in PLACES)}
    FROM repeats JOIN corpus USING (row_number) JOIN corpus AS first ON first.row_number = first_number
    ORDER BY row_number
"""


def repeats_sentence(field: str, name: str, first: str) -> str:
    """What is wrong with a row whose id another has before it.

    Args:
        field: of the id.
        name: the id.
        first: where the other stands.
    """
    if name.startswith(MADE_ID):
        return f"repeats {first} word for word; remove the line, or give each a `{field}` of its own"
    return f"field `{field}` repeats that of {first}; give it one of its own or remove the line"


class Repeats:
    """The repeats in a corpus; a context manager.

    Args:
        corpus: a Parquet file with the columns of a validated corpus.
        spill: a folder for what does not fit into memory.

    Attributes:
        count: how many there are.
    """

    def __init__(self, corpus: Path, spill: Path) -> None:
        self._connection: duckdb.DuckDBPyConnection = connect(corpus, spill)
        self._connection.execute(_REPEATS)
        self.count = int(self._connection.execute("SELECT count(*) FROM repeats").fetchall()[0][0])

    def __enter__(self) -> "Repeats":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def records(self) -> Iterator[pa.RecordBatch]:
        """The repeats in the order of the corpus, with `first_…` of PLACES: where the record is that each repeats."""
        yield from stream(self._connection, _RECORDS)

    def write_rest(self, target: Path) -> None:
        """Write the corpus without them, in its order."""
        condition = all_but(self._connection, "SELECT row_number FROM repeats")
        rest = f"SELECT * EXCLUDE (row_number) FROM corpus WHERE {condition}"
        with atomic_path(target) as temporary:
            self._connection.execute(f"COPY ({rest}) TO '{quoted(temporary)}' (FORMAT parquet)")
