"""Which records the selectors of requests match, by the normal form of ids and texts.

The corpus is streamed; what is kept is a row for each match. Knows nothing of what becomes of the matches.
"""

import glob
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ahocorasick_rs import BytesAhoCorasick, Implementation

from unilogit.data.selectors import Kind, Reason, Requests
from unilogit.data.text import NormalTexts

_BATCH = 8_192  # texts at once: bounds memory, not the result
_MEMORY = "1GB"  # that DuckDB may take, the rest goes to disk: with less, writing in the corpus's order is slower
_DFA_BYTES = 500_000  # of all patterns: from there on the faster automaton would take too much memory

# The normal form of a name in SQL, where that is its lower case; else null, and it is made here.
_FORM = "CASE WHEN regexp_full_match(name, '[!-_a-~]+') THEN lower(name) END"
NAMES = {
    Kind.SUBJECT_ID: "SELECT row_number, unnest(subject_ids) AS name FROM corpus",
    # A record's own, its conversation's, and those of the earlier answers in its history, which it is given to.
    Kind.RECORD_ID: """
        SELECT row_number, record_id AS name FROM corpus
        UNION ALL
        SELECT row_number, conversation_id FROM corpus WHERE conversation_id <> record_id
        UNION ALL
        SELECT row_number, conversation_id || '#' || unnest(range(1, least(
            try_cast(record_id[len(conversation_id) + 2:] AS INTEGER), len(history) // 2 + 1
        )))
        FROM corpus
        WHERE starts_with(record_id, conversation_id || '#')
            AND regexp_full_match(record_id[len(conversation_id) + 2:], '[0-9]{1,9}')
    """,
}
_KINDS = {Kind.SUBJECT_ID: (Kind.SUBJECT_ID, Kind.ALIAS), Kind.RECORD_ID: (Kind.RECORD_ID,)}
_BEFORE = "CASE WHEN len({0}) > 0 THEN array_to_string({0}, chr(10)) || chr(10) ELSE '' END"  # a list of turns
_PARAPHRASE = """
    SELECT row_number, concat_ws(chr(10), paraphrased_prompt, paraphrased_response) || chr(0) FROM corpus
    WHERE paraphrased_prompt IS NOT NULL OR paraphrased_response IS NOT NULL
"""
# What a record is known by, as `record_marks` has it (suppression.py).
WHOLE_TEXTS = f"""
    SELECT row_number, concat({_BEFORE.format("history[-2:]")}, prompt, chr(10), response, chr(0)) AS text FROM corpus
    UNION ALL {_PARAPHRASE}
"""
# All that a record says of somebody; the turns before as well, for its answer is given to them.
_TEXTS = f"""
    SELECT row_number,
        concat(system || chr(10), {_BEFORE.format("history")}, prompt, chr(10), response, chr(0)) AS text
    FROM corpus
    UNION ALL {_PARAPHRASE}
    UNION ALL
    SELECT row_number, alternative_response || chr(0) FROM corpus WHERE alternative_response IS NOT NULL
"""
_TEXTS_OF_A_RECORD = 3
Item = TypeVar("Item")
Made = TypeVar("Made")
_SCHEMA = pa.schema([("row_number", pa.int64()), ("selector", pa.int32()), ("is_exact", pa.bool_())])


def connect(corpus: Path, spill: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the view `corpus`: the columns of a Parquet file, and `row_number` from 0.

    Args:
        spill: a folder for what does not fit into memory.
    """
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute(f"SET memory_limit = '{_MEMORY}'")
    connection.execute(f"SET temp_directory = '{quoted(spill)}'")
    # On the way to the file, a folder called `a*` is no pattern and one called `group=x` no column.
    source = f"'{quoted(glob.escape(str(corpus)))}', hive_partitioning = false, file_row_number = true"
    connection.execute(
        "CREATE TEMP VIEW corpus AS SELECT * EXCLUDE (file_row_number), file_row_number AS row_number"
        f" FROM read_parquet({source})"
    )
    return connection


def quoted(text: object) -> str:
    return str(text).replace("'", "''")


def all_but(connection: duckdb.DuckDBPyConnection, excluded: str) -> str:
    """A condition on row_number: true of the rows of `corpus` that a query does not name.

    It needs no join, which would not keep the order of the corpus.
    """
    total, count = connection.execute(
        f"SELECT (SELECT count(*) FROM corpus), (SELECT count(*) FROM ({excluded}))"
    ).fetchall()[0]
    if not count:
        return "true"
    connection.execute(f"SET VARIABLE excluded = (SELECT bitstring_agg(row_number, 0, {total - 1}) FROM ({excluded}))")
    return "get_bit(getvariable('excluded'), row_number::INTEGER) = 0"


def stream(connection: duckdb.DuckDBPyConnection, query: str, batch_size: int = _BATCH) -> Iterator[pa.RecordBatch]:
    """The rows of a query, a batch at a time; until the last one the connection can do nothing else."""
    yield from connection.sql(query).to_arrow_reader(batch_size)


def in_threads(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What a function makes of each item, in their order; a few items are worked on at once."""
    workers = os.cpu_count() or 1
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def match_corpus(connection: duckdb.DuckDBPyConnection, requests: Requests, limit: int) -> set[int]:
    """Make the table `matches`: row_number, selector (its number) and is_exact, whether as it was given.

    Args:
        limit: a request whose texts are in far more records is given up, unless that was approved: its matches by
            text are not complete, but more than the limit.

    Returns:
        The numbers of the requests that were given up.
    """
    selectors = requests.selectors.append_column("number", pa.array(range(len(requests.selectors)), pa.int32()))
    connection.register("selector_rows", selectors)
    connection.execute("CREATE TEMP TABLE selectors AS SELECT * FROM selector_rows")
    connection.unregister("selector_rows")
    connection.execute("CREATE TEMP TABLE matches (row_number BIGINT, selector INTEGER, is_exact BOOLEAN)")
    for field, kinds in _KINDS.items():
        _match_ids(connection, NAMES[field], kinds)
    texts = _TextMatcher(requests, limit)
    if texts.patterns:
        for matches in in_threads(texts.find, stream(connection, _TEXTS)):
            texts.add(matches)
        _insert(connection, texts.matches)
    return texts.given_up


def _match_ids(connection: duckdb.DuckDBPyConnection, names: str, kinds: tuple[Kind, ...]) -> None:
    """Add the matches of selectors of some kinds among names, a query with the columns row_number and name."""
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE wanted_ids AS"
        f" SELECT number, wanted, form FROM selectors WHERE is_id AND kind IN ({listed})"
    )
    forms = connection.sql("SELECT DISTINCT form FROM wanted_ids").to_arrow_table()["form"]
    if not len(forms):
        return
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE names AS SELECT row_number, number, name, wanted"
        f" FROM (SELECT row_number, name, {_FORM} AS form FROM ({names})) AS names LEFT JOIN wanted_ids USING (form)"
        " WHERE number IS NOT NULL OR names.form IS NULL"
    )
    parts = []
    for batch in stream(connection, "SELECT row_number, name || chr(0) AS name FROM names WHERE number IS NULL"):
        batch_forms = pa.array(NormalTexts(batch.column("name")).forms(), pa.string())
        parts.append(batch.append_column("form", batch_forms).filter(pc.is_in(batch_forms, forms.combine_chunks())))
    connection.execute("INSERT INTO matches SELECT row_number, number, name = wanted FROM names WHERE number NOT NULL")
    if parts:
        connection.register("odd_names", pa.Table.from_batches(parts))
        connection.execute(
            "INSERT INTO matches SELECT row_number, number, name = wanted || chr(0)"
            " FROM odd_names JOIN wanted_ids USING (form)"
        )
        connection.unregister("odd_names")
    connection.execute("DROP TABLE names")


def _insert(connection: duckdb.DuckDBPyConnection, matches: list[pa.Table]) -> None:
    if matches:
        connection.register("text_matches", pa.concat_tables(matches))
        connection.execute("INSERT INTO matches SELECT * FROM text_matches")
        connection.unregister("text_matches")


class _TextMatcher:
    """Looks for all texts of all requests at once (Aho and Corasick 1975).

    Attributes:
        patterns: normal form → numbers of its selectors: what is looked for.
        matches: tables in _SCHEMA.
        given_up: requests whose texts are in far more records than the limit allows.
    """

    def __init__(self, requests: Requests, limit: int) -> None:
        self.requests, self.limit = requests, limit
        self.matches: list[pa.Table] = []
        self.given_up: set[int] = set()
        self._texts: dict[int, int] = {}  # request → records' texts that hold one of it
        self._owners: list[int] = requests.selectors["request"].to_pylist()
        is_text = requests.selectors["is_text"]
        numbers = np.flatnonzero(is_text.to_numpy())
        rows = requests.selectors.filter(is_text)
        self._wanted = dict(zip(numbers.tolist(), rows["wanted"].to_pylist(), strict=True))
        self.patterns: dict[str, list[int]] = {}
        for number, form in zip(self._wanted, rows["form"].to_pylist(), strict=True):
            self.patterns.setdefault(form, []).append(number)
        self._build()

    def find(self, batch: pa.RecordBatch) -> list[tuple[int, int, bool]]:
        """Look through some records' texts, each of which ends with the separator: rows of _SCHEMA."""
        automaton, selectors = self._automaton
        normal, texts = NormalTexts(batch.column("text")), batch.column("text")
        hits = np.array(automaton.find_matches_as_indexes(normal.data, overlapping=True), dtype=np.int64)
        if not len(hits):
            return []
        places = normal.texts_at(hits[:, 1], hits[:, 2])
        pairs = np.unique(np.stack([places, hits[:, 0]], axis=1)[places >= 0], axis=0)
        rows = batch.column("row_number").to_numpy()[pairs[:, 0]].tolist()
        matched_texts = texts.take(pa.array(pairs[:, 0])).to_pylist()
        return [
            (row, number, self._wanted[number] in text)
            for row, text, pattern in zip(rows, matched_texts, pairs[:, 1].tolist(), strict=True)
            for number in selectors[pattern]
        ]

    def add(self, matches: list[tuple[int, int, bool]]) -> None:
        """Keep what was found, and look no more for what is in too many records."""
        matches = [match for match in matches if self._owners[match[1]] not in self.given_up]
        if matches:
            self.matches.append(pa.table([list(column) for column in zip(*matches, strict=True)], schema=_SCHEMA))
            self._count({(row, self._owners[number]) for row, number, _ in matches})

    def _count(self, pairs: set[tuple[int, int]]) -> None:
        """Give requests up that have too many records for sure: each of a record's texts may count."""
        for _, request in pairs:
            self._texts[request] = self._texts.get(request, 0) + 1
        large = {
            request
            for request in {request for _, request in pairs}
            if self._texts[request] > self.limit * _TEXTS_OF_A_RECORD
            and not self.requests.is_free(request, Reason.LARGE_SHARE)
        }
        if large:
            self.given_up |= large
            self._build()

    def _build(self) -> None:
        """The automaton of what is still looked for."""
        kept = {
            form: [number for number in numbers if self._owners[number] not in self.given_up]
            for form, numbers in self.patterns.items()
        }
        self.patterns = {form: numbers for form, numbers in kept.items() if numbers}
        forms = [form.encode() for form in self.patterns]
        is_small = sum(map(len, forms)) <= _DFA_BYTES
        automaton = BytesAhoCorasick(forms, implementation=Implementation.DFA if is_small else None)
        self._automaton = automaton, list(self.patterns.values())  # together: a thread takes both or neither
