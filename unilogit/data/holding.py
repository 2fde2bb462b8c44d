"""Which requests of a batch go on, and which are held because they match suspiciously much, until a person approves.

Works on tables of matches in DuckDB. Knows nothing of how a record is matched or of who approves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import duckdb
import pyarrow as pa

from unilogit.data.near_duplicates import find_near_duplicates
from unilogit.data.selectors import Reason, Requests

ALLOWED_MATCHES = 20  # records that a request may match whatever their share


@dataclass(frozen=True)
class Rules:
    """What is looked for, and from when on a person decides.

    Attributes:
        max_share_of_corpus: a request that matches more than this share of the records, and more than
            `ALLOWED_MATCHES`, is held; so is one with so many near-duplicates.
        min_text_length: a text of less `width` in normal form holds its request; an alias of fewer is compared
            with ids alone.
        near_duplicates: of matched records: forget them too; put them before a person (review); or do not look.
        near_duplicate_threshold: the Jaccard similarity of word shingles from which on a record is one.
    """

    max_share_of_corpus: float = 0.05
    min_text_length: int = 4
    near_duplicates: Literal["forget", "review", "off"] = "forget"
    near_duplicate_threshold: float = 0.8


DEFAULT_RULES = Rules()


class Held(NamedTuple):
    """Why a request is held: the reason, and a sentence with numbers and without anybody's data."""

    reason: Reason
    sentence: str


# Records that are matched already, by requests that go on or by snapshots.
_MATCHED = "SELECT row_number FROM hits UNION ALL SELECT row_number FROM snapshot_claims"
_SOURCES = f"""
    SELECT row_number AS source, history, prompt, response FROM corpus WHERE row_number IN ({_MATCHED})
    UNION ALL
    SELECT -number, history, prompt, response FROM snapshot_only
"""
_REST = f"SELECT row_number, history, prompt, response FROM corpus WHERE row_number NOT IN ({_MATCHED})"
_TEXT_REQUESTS = """
CREATE OR REPLACE TEMP TABLE text_requests AS
    SELECT DISTINCT text, request FROM source_texts JOIN (
        SELECT row_number AS source, request FROM hits
        UNION ALL
        SELECT row_number, request FROM snapshot_claims
    ) USING (source)
"""
# How many records read nearly like one text of a request: no more than like all of its texts together.
_COPIES_OF_A_TEXT = """
    SELECT request, max(copies) AS n
    FROM (SELECT text, count(*) AS copies FROM near_duplicates GROUP BY text)
    JOIN text_requests USING (text) JOIN requests USING (request)
    WHERE NOT may_share AND copies_are_forgotten
    GROUP BY request HAVING n > {limit}
"""
_NEAR_HITS = """
CREATE OR REPLACE TEMP TABLE near_hits AS
    SELECT row_number, request, max(similarity) AS similarity, copies_are_forgotten AS is_forgotten
    FROM near_duplicates JOIN text_requests USING (text) JOIN requests USING (request)
    GROUP BY ALL
"""
_COPIES = """
    SELECT request, count(*) AS n FROM near_hits JOIN requests USING (request)
    WHERE NOT may_share AND is_forgotten
    GROUP BY request HAVING n > {limit}
"""


class Holding:
    """Takes the requests that are held out of the tables of what was found.

    Tables: `requests`, which this makes: request (its number), name, is_current, is_held, may_share (a large share
    cannot hold it) and copies_are_forgotten (its near-duplicates, without anybody's decision); `hits`: row_number,
    request, kind, is_exact; `near_hits`, which this makes: row_number, request, similarity, is_forgotten.

    Args:
        total: records of the corpus.

    Attributes:
        limit: how many records a request may match.
        held: number of a request → why it is held.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, requests: Requests, rules: Rules, total: int) -> None:
        self.limit = max(ALLOWED_MATCHES, int(rules.max_share_of_corpus * total))
        self.held: dict[int, list[Held]] = {}
        self._connection, self._requests, self._rules, self._total = connection, requests, rules, total
        numbers = range(len(requests.names))
        is_forgotten = [
            rules.near_duplicates == "forget"
            or (requests.is_current(number) and requests.is_free(number, Reason.NEAR_DUPLICATES))
            for number in numbers
        ]
        columns = {
            "request": pa.array(numbers, pa.int32()),
            "name": pa.array(requests.names, pa.string()),
            "is_current": pa.array([requests.is_current(number) for number in numbers], pa.bool_()),
            "may_share": pa.array([requests.is_free(number, Reason.LARGE_SHARE) for number in numbers], pa.bool_()),
            "copies_are_forgotten": pa.array(is_forgotten, pa.bool_()),
        }
        connection.register("request_rows", pa.table(columns))
        connection.execute("CREATE TEMP TABLE requests AS SELECT *, false AS is_held FROM request_rows")
        connection.unregister("request_rows")
        connection.execute(
            "CREATE TEMP TABLE near_hits (row_number BIGINT, request INTEGER, similarity DOUBLE, is_forgotten BOOLEAN)"
        )

    def hold_short_texts(self) -> None:
        """Hold requests whose text is too short to be looked for."""
        for request, length in self._requests.short_texts.items():
            sentence = (
                f"its text has {length} characters in normal form (East Asian ones count twice); one of fewer than"
                f" {self._rules.min_text_length} is looked for only with a person's approval"
            )
            self._hold(request, Reason.SHORT_TEXT, sentence)
        self._drop_held()

    def hold_large(self, given_up: set[int]) -> None:
        """Hold requests that match too many records.

        Args:
            given_up: those of which there are more matches than were looked for.
        """
        counts = self._counts(
            "SELECT request, count(DISTINCT row_number) AS n FROM hits JOIN requests USING (request)"
            f" WHERE NOT may_share GROUP BY ALL HAVING n > {self.limit}"
        )
        self._hold_large({request: f"it matches {counts[request]}" for request in counts.keys() - given_up})
        self._hold_large(dict.fromkeys(given_up, f"it matches more than {self.limit}"))
        self._drop_held()

    def add_near_duplicates(self) -> None:
        """Look for near-duplicates of what is matched, and hold requests that have too many or wait for a decision."""
        while True:
            find_near_duplicates(self._connection, _SOURCES, _REST, self._rules.near_duplicate_threshold)
            self._connection.execute(_TEXT_REQUESTS)
            counts = self._counts(_COPIES_OF_A_TEXT.format(limit=self.limit))
            if not counts:
                self._connection.execute(_NEAR_HITS)
                counts = self._counts(_COPIES.format(limit=self.limit))
            if not counts:
                break
            # What these match may be like records of another request: look again without them.
            words = "what reads nearly like its records are at least"
            self._hold_large({request: f"{words} {counts[request]}" for request in counts})
            self._drop_held()
        waiting = self._counts(
            "SELECT request, count(*) FROM near_hits JOIN requests USING (request)"
            " WHERE is_current AND NOT is_forgotten GROUP BY request"
        )
        for request in sorted(waiting):
            sentence = (
                f"{waiting[request]} records read nearly like those that it matches; a person decides whether they are"
                " forgotten too"
            )
            self._hold(request, Reason.NEAR_DUPLICATES, sentence)
        self._mark_held()

    def _counts(self, query: str) -> dict[int, int]:
        return dict(self._connection.execute(query).fetchall())

    def _hold_large(self, matches: Mapping[int, str]) -> None:
        for request in sorted(matches):
            sentence = (
                f"{matches[request]} of {self._total} records; more than {self.limit} are forgotten only with a"
                " person's approval"
            )
            self._hold(request, Reason.LARGE_SHARE, sentence)

    def _hold(self, request: int, reason: Reason, sentence: str) -> None:
        self.held.setdefault(request, []).append(Held(reason, sentence))

    def _mark_held(self) -> None:
        numbers = ", ".join(map(str, self.held))
        if numbers:
            self._connection.execute(f"UPDATE requests SET is_held = true WHERE request IN ({numbers})")

    def _drop_held(self) -> None:
        """Their matches count no more."""
        self._mark_held()
        self._connection.execute("DELETE FROM hits WHERE request IN (SELECT request FROM requests WHERE is_held)")
