"""A corpus in numbers: how long its texts are, in which scripts, about how many people, how much of it twice.

Everything is counted while the corpus streams by. Knows records. Knows nothing of models, requests or of what is good.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from unilogit.data.matching import connect
from unilogit.data.near_duplicates import find_near_duplicates
from unilogit.data.parquet_rows import sample_rows
from unilogit.data.records import CorpusRecord

SAMPLE = 2_000  # records of which near-duplicates are looked for in the whole corpus
MOST_GROUPS = 20


class Histogram:
    """How often each length was there: its memory grows with the longest, not with how many there are."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, length: int) -> None:
        self._counts[length] += 1

    def more_than(self, length: int) -> int:
        """How many were longer."""
        return sum(count for value, count in self._counts.items() if value > length)

    def quantile(self, share: float) -> int:
        """The least length that is not below that of this share of all; 0 of none."""
        wanted, seen = share * self._counts.total(), 0
        for value in sorted(self._counts):
            seen += self._counts[value]
            if seen >= wanted:
                return value
        return 0


class Scripts:
    """Which scripts the letters of texts are of: the first word of their Unicode names, like Latin or Cyrillic."""

    def __init__(self) -> None:
        self._characters: Counter[str] = Counter()

    def add(self, records: Iterable[CorpusRecord]) -> None:
        self._characters.update("".join(text for record in records for text in (record.prompt, record.response)))

    def shares(self) -> dict[str, float]:
        """Of all letters, the most frequent script first."""
        counts: Counter[str] = Counter()
        for character, count in self._characters.items():
            if script := _script(character):
                counts[script] += count
        return {script: count / counts.total() for script, count in counts.most_common()}


@cache
def _script(character: str) -> str:
    """Empty of what is no letter, or one of every script."""
    plain = unicodedata.normalize("NFKC", character)[:1]
    if unicodedata.category(plain) not in ("Lu", "Ll", "Lt", "Lo"):
        return ""
    return unicodedata.name(plain, "unknown").split()[0].split("-")[0].capitalize()


@dataclass(frozen=True)
class Contents:
    """What a corpus holds, in numbers.

    Attributes:
        records: how many there are.
        conversations: how many have several answers.
        with_history: records that have turns before their prompt.
        subjects: people, by their ids as they are written.
        without_subject: records that name nobody.
        most_of_a_subject: records of the person who has the most.
        groups: name → records, the largest first, 20 at the most.
        exact_repeats: records that say word for word what one before them says.
        sampled: records of which near-duplicates were looked for among all.
        near_repeats: how many of these read exactly or nearly like another record.
    """

    records: int
    conversations: int
    with_history: int
    subjects: int
    without_subject: int
    most_of_a_subject: int
    groups: dict[str, int]
    exact_repeats: int
    sampled: int
    near_repeats: int


_CONTENTS = """
    SELECT count(*), count(DISTINCT conversation_id), count(*) FILTER (len(history) > 0),
        count(*) FILTER (len(subject_ids) = 0), count(*) - count(DISTINCT hash(row(system, history, prompt, response)))
    FROM corpus
"""
_SUBJECTS = """
    SELECT count(*), coalesce(max(records), 0) FROM (
        SELECT name, count(DISTINCT row_number) AS records
        FROM (SELECT row_number, unnest(subject_ids) AS name FROM corpus) GROUP BY name
    )
"""
_GROUPS = f'SELECT "group", count(*) AS n FROM corpus GROUP BY ALL ORDER BY n DESC, "group" LIMIT {MOST_GROUPS}'


def contents_of(corpus: Path, spill: Path, threshold: float, seed: int) -> Contents:
    """Count what is in a corpus.

    Args:
        corpus: a Parquet file with the columns of CORPUS_SCHEMA.
        spill: a folder for what does not fit into memory.
        threshold: the Jaccard similarity from which on two records are near-duplicates.
        seed: of the sample.
    """
    with connect(corpus, spill) as connection:
        records, conversations, with_history, without_subject, exact = _row(connection, _CONTENTS)
        subjects, largest = _row(connection, _SUBJECTS)
        numbers = sample_rows(pq.read_metadata(corpus).num_rows, SAMPLE, seed)
        connection.register("drawn", pa.table({"row_number": numbers}))
        columns = "history, prompt, response FROM corpus"
        sources = f"SELECT row_number AS source, {columns} WHERE row_number IN (SELECT row_number FROM drawn)"
        find_near_duplicates(connection, sources, f"SELECT row_number, {columns}", threshold)
        (near_repeats,) = _row(
            connection,
            "SELECT count(DISTINCT source) FROM source_texts JOIN near_duplicates USING (text)"
            " WHERE row_number <> source",
        )
        return Contents(
            records=records,
            conversations=conversations,
            with_history=with_history,
            subjects=subjects,
            without_subject=without_subject,
            most_of_a_subject=largest,
            groups=dict(connection.execute(_GROUPS).fetchall()),
            exact_repeats=exact,
            sampled=len(numbers),
            near_repeats=near_repeats,
        )


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row: tuple[int, ...] = connection.execute(query).fetchall()[0]
    return row
