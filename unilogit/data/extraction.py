"""Which records a batch of deletion requests asks to forget, and which remain.

DuckDB streams the corpus (Parquet, out of core), so memory does not grow with it. Knows nothing of the ledger, of
models or of who asked.

A request that matches suspiciously much is held: nothing is forgotten for it, and the others go on without it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import duckdb
import pandas as pd
import pyarrow.parquet as pq

from unilogit.data.holding import DEFAULT_RULES, Held, Holding, Rules
from unilogit.data.matching import all_but, connect, match_corpus, quoted
from unilogit.data.records import COLUMNS
from unilogit.data.selectors import Kind, Requests
from unilogit.data.snapshots import load_snapshots
from unilogit.data.suppression import Suppressed, SuppressionList, suppress
from unilogit.errors import InputError
from unilogit.files import atomic_path

RECORDS, FOLDED = "records", "folded"  # keys of Extraction.matched beside those of Kind


class Reference(NamedTuple):
    """How a request points at records by one field; not by what, which is personal data.

    Attributes:
        field: subject_id, alias, record_id or text.
        selectors: how many the request has.
        unmatched: how many of them were looked for and match no record.
    """

    request_id: str
    field: str
    selectors: int
    unmatched: int


@dataclass(frozen=True)
class Extraction:
    """What was found, in counts and ids.

    Attributes:
        forget: records of this batch's requests.
        earlier: records of earlier batches alone, replayed so that they stay forgotten.
        retain: what is left, but for what waits for a person's decision and what is suppressed.
        near_duplicates: how many of the records to forget were found as near-duplicates alone.
        in_review: near-duplicates that wait for a decision; in no set.
        matched: request_id → how many records were found by what, and in all (`RECORDS`), for this batch's requests
            that are not held and of which any was; `FOLDED` of them in another spelling than was given.
        references: of this batch's requests, by request_id and field.
        held: request_id → why it is held.
        unmatched: this batch's requests of which nothing was found and which are not held.
        short_aliases: request_id → how many of its aliases are too short to be looked for in texts.
        suppressed: records of the suppression list that no request asks to forget, in the order of the corpus; in no
            set.
    """

    forget: int
    earlier: int
    retain: int
    near_duplicates: int
    in_review: int
    matched: dict[str, dict[str, int]]
    references: list[Reference]
    held: dict[str, list[Held]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    short_aliases: dict[str, int] = field(default_factory=dict)
    suppressed: list[Suppressed] = field(default_factory=list)


def extract_sets(
    corpus: Path,
    current: pd.DataFrame,
    earlier: pd.DataFrame,
    forget_file: Path,
    retain_file: Path,
    review_file: Path,
    *,
    rules: Rules = DEFAULT_RULES,
    approvals: Mapping[str, Collection[str]] | None = None,
    snapshots: Sequence[Path] = (),
    suppression: SuppressionList | None = None,
) -> Extraction:
    """Split the corpus into the forget set and the retain set, as Parquet files.

    Ids and texts are compared by their normal form. A text is looked for in prompt and response, in their
    paraphrases and in the alternative response.

    Args:
        corpus: one Parquet file with the columns of CorpusRecord.
        current: this batch's requests; columns request_id, subject_id, aliases, record_ids (both lists) and text.
        earlier: the requests of earlier batches, same columns. Their records go into the forget set too and never
            into the retain set, which would teach them again. They are never held.
        forget_file: to write, in the order of the corpus, then what only snapshots hold. Columns of CorpusRecord and
            `request_ids`, `batch` ("current" or "earlier"), `match` (a Kind) and `similarity` of near-duplicates.
        retain_file: to write, in the order of the corpus. Columns of CorpusRecord.
        review_file: to write: near-duplicates that wait for a person, with `request_ids` and `similarity`. They and
            all records of the requests that they hold are in neither set.
        rules: what is looked for.
        approvals: request_id → the reasons that cannot hold it, as a person approved.
        snapshots: forget sets of earlier batches, the latest last: what they found for a request is forgotten whether
            the corpus still holds it or not, in both wordings where the corpus has another one.
        suppression: of whom there is no request any more, and no record may be in a set either. The corpus needs the
            columns `file` and `row` then.

    Raises:
        InputError: nothing would be left to retain.
    """
    requests = Requests(current, earlier, approvals or {}, rules.min_text_length)
    with (
        TemporaryDirectory(prefix=".spilled.", dir=_folder_of(forget_file)) as spill,
        connect(corpus, Path(spill)) as connection,
    ):
        total = pq.read_metadata(corpus).num_rows
        files = (forget_file, retain_file, review_file)
        return _split(connection, requests, rules, total, snapshots, suppression, files)


def _folder_of(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.parent


def subjects_in(corpus: Path, subject_ids: Collection[str]) -> int:
    """How many of these people are in the corpus, by the normal form of their ids."""
    asked = pd.DataFrame({"request_id": list(subject_ids), "subject_id": list(subject_ids)}).assign(text=None)
    asked["aliases"] = asked["record_ids"] = [[] for _ in subject_ids]
    requests = Requests(asked, asked[:0], {}, min_text_length=1)
    with TemporaryDirectory() as spill, connect(corpus, Path(spill)) as connection:
        match_corpus(connection, requests, limit=0)
        return int(connection.execute("SELECT count(DISTINCT selector) FROM matches").fetchall()[0][0])


def _split(
    connection: duckdb.DuckDBPyConnection,
    requests: Requests,
    rules: Rules,
    total: int,
    snapshots: Sequence[Path],
    suppression: SuppressionList | None,
    files: tuple[Path, Path, Path],
) -> Extraction:
    holding = Holding(connection, requests, rules, total)
    given_up = match_corpus(connection, requests, holding.limit)
    connection.execute(_HITS)
    references = [Reference(*row) for row in connection.execute(_REFERENCES).fetchall()]
    load_snapshots(connection, snapshots)
    holding.hold_short_texts()
    holding.hold_large(given_up)
    if rules.near_duplicates != "off":
        holding.add_near_duplicates()
    connection.execute(_CLAIMS)
    connection.execute(_TAKEN)
    suppressed = suppress(connection, suppression)
    connection.execute(_IN_REVIEW)
    forget, earlier, copies, from_corpus, in_review, in_no_set = connection.execute(_COUNTS).fetchall()[0]
    retain = total - from_corpus - in_no_set - len(suppressed)
    if not retain:
        asking = "the requests, and those that are purged," if suppressed else "the requests"
        raise InputError(
            f"{asking} ask for all {total} records of the corpus, which leaves nothing to retain;"
            " withdraw the model instead of unlearning"
        )
    retained = f"SELECT {_RECORD} FROM corpus WHERE {all_but(connection, _NOT_RETAINED)}"
    for query, target in zip((_FORGET, retained, _REVIEW), files, strict=True):
        with atomic_path(target) as temporary:
            connection.execute(f"COPY ({query}) TO '{quoted(temporary)}' (FORMAT parquet)")
    matched: dict[str, dict[str, int]] = {}
    for name, kind, count in connection.execute(_MATCHED).fetchall():
        matched.setdefault(name, {})[kind] = count
    held = {requests.names[number]: reasons for number, reasons in sorted(holding.held.items())}
    settled = {*matched, *held}
    return Extraction(
        forget=forget,
        earlier=earlier,
        retain=retain,
        near_duplicates=copies,
        in_review=in_review,
        matched=matched,
        references=references,
        held=held,
        unmatched=[name for name in requests.names[: requests.n_current] if name not in settled],
        short_aliases={requests.names[number]: count for number, count in requests.short_aliases.items()},
        suppressed=suppressed,
    )


_RECORD = ", ".join(f'"{name}"' for name in COLUMNS)  # quoted: `group` is a word of SQL
_ORDER = str([str(kind) for kind in Kind])

_HITS = """
CREATE TEMP TABLE hits AS
    SELECT row_number, request, kind, bool_or(is_exact) AS is_exact
    FROM matches JOIN selectors ON selector = number
    GROUP BY ALL
"""

_REFERENCES = """
    SELECT name, kind, count(*),
        count(*) FILTER ((is_id OR is_text) AND number NOT IN (SELECT selector FROM matches))
    FROM selectors JOIN requests USING (request) WHERE is_current
    GROUP BY ALL ORDER BY ALL
"""

# Of which request a record is, and how it was found; row_number is negative where only a snapshot holds it.
_CLAIMS = f"""
CREATE TEMP TABLE claims AS
    SELECT row_number, name, kind, is_exact, similarity, is_current AND NOT is_held AS is_current
    FROM (
        SELECT row_number, request, kind, is_exact, NULL::DOUBLE AS similarity
        FROM hits WHERE request NOT IN (SELECT request FROM requests WHERE is_held)
        UNION ALL
        SELECT row_number, request, '{Kind.NEAR_DUPLICATE}', true, similarity FROM near_hits WHERE is_forgotten
        UNION ALL
        SELECT row_number, request, kind, true, similarity FROM snapshot_claims
    ) JOIN requests USING (request)
"""

_TAKEN = f"""
CREATE TEMP TABLE taken AS
    SELECT row_number, list(DISTINCT name ORDER BY name) AS request_ids,
        CASE WHEN bool_or(is_current) THEN 'current' ELSE 'earlier' END AS batch,
        arg_min(kind, list_position({_ORDER}, kind)) AS match,
        CASE WHEN match = '{Kind.NEAR_DUPLICATE}' THEN max(similarity) END AS similarity
    FROM claims GROUP BY row_number
"""

# Near-duplicates that nobody has decided about, and what the requests that wait for it match: in neither set.
_IN_REVIEW = """
CREATE TEMP TABLE in_review AS
    SELECT row_number, list(DISTINCT name ORDER BY name) AS request_ids, max(similarity) AS similarity
    FROM (
        SELECT row_number, request, similarity FROM near_hits WHERE NOT is_forgotten
        UNION ALL
        SELECT row_number, request, NULL FROM hits WHERE request IN (SELECT request FROM requests WHERE is_held)
    ) JOIN requests USING (request)
    WHERE row_number NOT IN (SELECT row_number FROM taken UNION ALL SELECT row_number FROM suppressed)
    GROUP BY row_number
"""

_COUNTS = f"""
    SELECT count(*) FILTER (batch = 'current'), count(*) FILTER (batch = 'earlier'),
        count(*) FILTER (match = '{Kind.NEAR_DUPLICATE}'), count(*) FILTER (row_number >= 0),
        (SELECT count(similarity) FROM in_review), (SELECT count(*) FROM in_review)
    FROM taken
"""

_FORGET = f"""
    SELECT * EXCLUDE (place) FROM (
        SELECT {_RECORD}, request_ids, batch, match, similarity, (row_number, 0) AS place
        FROM corpus JOIN taken USING (row_number)
        UNION ALL
        SELECT {_RECORD}, request_ids, batch, match, similarity, (9223372036854775807, number)
        FROM snapshot_only JOIN taken ON row_number = -number
    ) ORDER BY place
"""
_NOT_RETAINED = """
    SELECT row_number FROM taken WHERE row_number >= 0
    UNION ALL SELECT row_number FROM in_review
    UNION ALL SELECT row_number FROM suppressed
"""
_REVIEW = f"""
    SELECT {_RECORD}, request_ids, similarity FROM corpus JOIN in_review USING (row_number)
    WHERE similarity IS NOT NULL ORDER BY row_number
"""

_MATCHED = f"""
    WITH found AS (SELECT * FROM claims WHERE is_current)
    SELECT name, kind, count(DISTINCT row_number) FROM found GROUP BY ALL
    UNION ALL
    SELECT name, '{RECORDS}', count(DISTINCT row_number) FROM found GROUP BY ALL
    UNION ALL
    SELECT name, '{FOLDED}', count(*)
    FROM (SELECT name, row_number FROM found GROUP BY ALL HAVING NOT bool_or(is_exact)) GROUP BY ALL
    ORDER BY ALL
"""
