"""Which records a batch of deletion requests asks to forget, and which remain.

DuckDB joins the corpus (Parquet, out of core) with the requests' selectors. Knows nothing of the ledger,
of models or of who asked.
"""

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb
import pandas as pd

from unilogit.data.records import COLUMNS
from unilogit.errors import InputError
from unilogit.files import atomic_path

_RECORD = ", ".join(f'"{name}"' for name in COLUMNS)  # quoted: `group` is a word of SQL

# One row a selector. `current` tells this batch's requests from earlier ones, which stay forgotten.
_SELECTORS = """
CREATE TEMP TABLE selectors AS
    SELECT request_id, current, 'subject_id' AS field, subject_id AS wanted FROM requests WHERE subject_id IS NOT NULL
    UNION
    SELECT request_id, current, 'record_id' AS field, unnest(record_ids) AS wanted FROM requests
    UNION
    SELECT request_id, current, 'text' AS field, text AS wanted FROM requests WHERE text IS NOT NULL
"""

# lower(upper(…)): a letter may have two lower-case forms, as the Greek sigma has, but one upper-case form.
_MATCHES = """
CREATE TEMP TABLE matches AS
    SELECT record.record_id, request_id, current, field, wanted
    FROM (SELECT record_id, unnest(subject_ids) AS subject_id FROM corpus) record
    JOIN selectors ON field = 'subject_id' AND wanted = record.subject_id
    UNION
    SELECT record.record_id, request_id, current, field, wanted
    FROM corpus record JOIN selectors ON field = 'record_id' AND wanted = record.record_id
    UNION
    SELECT record_id, request_id, current, field, wanted
    FROM (SELECT record_id, lower(upper(prompt || chr(10) || response)) AS said FROM corpus)
    JOIN (SELECT *, lower(upper(wanted)) AS sought FROM selectors WHERE field = 'text') ON contains(said, sought)
"""

_FORGET = f"""
    SELECT {_RECORD}, request_ids, CASE WHEN current THEN 'current' ELSE 'earlier' END AS batch
    FROM corpus JOIN (
        SELECT record_id, list(DISTINCT request_id ORDER BY request_id) AS request_ids, bool_or(current) AS current
        FROM matches GROUP BY record_id
    ) USING (record_id)
    ORDER BY file, row
"""

_RETAIN = f"""
    SELECT {_RECORD} FROM corpus
    WHERE record_id NOT IN (SELECT record_id FROM matches)
    ORDER BY file, row
"""

_REFERENCES = """
    SELECT request_id, field, count(*), count(*) FILTER (WHERE NOT EXISTS (
        SELECT 1 FROM matches
        WHERE matches.request_id = selectors.request_id AND matches.field = selectors.field
        AND matches.wanted = selectors.wanted
    ))
    FROM selectors WHERE current
    GROUP BY ALL ORDER BY ALL
"""


class Reference(NamedTuple):
    """How a request points at records by one field; not by what, which is personal data.

    Attributes:
        field: subject_id, record_id or text.
        selectors: how many the request has.
        unmatched: how many of them match no record.
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
        retain: the other records.
        matched: request_id → number of records, for this batch's requests that match any.
        references: of this batch's requests, by request_id and field.
    """

    forget: int
    earlier: int
    retain: int
    matched: dict[str, int]
    references: list[Reference]


def extract_sets(
    corpus: Path, current: pd.DataFrame, earlier: pd.DataFrame, forget_file: Path, retain_file: Path
) -> Extraction:
    """Split the corpus into the forget set and the retain set, as two Parquet files.

    Args:
        corpus: Parquet with the columns of CorpusRecord, `file` and `row`.
        current: this batch's requests; columns request_id, subject_id, record_ids (lists) and text, which a
            record matches when it contains it, whatever the case.
        earlier: the requests of earlier batches, same columns. Their records go into the forget set too and
            never into the retain set, which would teach them again.
        forget_file, retain_file: what to write, in corpus order; forget has `request_ids` and `batch`
            ("current" or "earlier") as well.

    Raises:
        InputError: nothing would be left to retain.
    """
    columns = ["request_id", "subject_id", "record_ids", "text"]
    requests = pd.concat([current[columns].assign(current=True), earlier[columns].assign(current=False)])
    requests = requests.astype({"request_id": "str", "current": "bool"})
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        # On the way to the file, a folder called `a*` is no pattern and one called `group=x` no column.
        source = f"'{_quoted(glob.escape(str(corpus)))}', hive_partitioning = false"
        connection.execute(f"CREATE TEMP VIEW corpus AS SELECT * FROM read_parquet({source})")
        connection.execute(
            "CREATE TEMP TABLE requests (request_id VARCHAR, subject_id VARCHAR, record_ids VARCHAR[], text VARCHAR,"
            " current BOOLEAN)"
        )
        rows = [
            (request_id, _text(subject_id), list(record_ids), _text(text), current)
            for request_id, subject_id, record_ids, text, current in requests[[*columns, "current"]].values.tolist()
        ]
        if rows:
            connection.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute(_SELECTORS)
        connection.execute(_MATCHES)
        counts = connection.execute(
            "SELECT count(*) FILTER (WHERE current), count(*) FILTER (WHERE NOT current) FROM"
            " (SELECT record_id, bool_or(current) AS current FROM matches GROUP BY record_id)"
        ).fetchall()
        forget, replayed = counts[0]
        total = connection.execute("SELECT count(*) FROM corpus").fetchall()[0][0]
        retain = total - forget - replayed
        if not retain:
            raise InputError(
                f"the requests ask for all {total} records of the corpus, which leaves nothing to retain;"
                " withdraw the model instead of unlearning"
            )
        for query, target in ((_FORGET, forget_file), (_RETAIN, retain_file)):
            with atomic_path(target) as temporary:
                connection.execute(f"COPY ({query}) TO '{_quoted(str(temporary))}' (FORMAT parquet)")
        matched = connection.execute(
            "SELECT request_id, count(DISTINCT record_id) FROM matches WHERE current GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        references = [Reference(*row) for row in connection.execute(_REFERENCES).fetchall()]
    return Extraction(forget, replayed, retain, dict(matched), references)


def _text(cell: object) -> str | None:
    """A cell of a pandas column: None and NaN are nothing."""
    return cell if isinstance(cell, str) else None


def _quoted(text: str) -> str:
    return text.replace("'", "''")
