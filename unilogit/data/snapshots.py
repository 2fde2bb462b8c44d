"""What earlier batches found, from their forget sets, beside the corpus as it is now.

Knows forget sets as files and a corpus in DuckDB. Knows nothing of how a record is matched.
"""

import glob
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from unilogit.data.matching import quoted
from unilogit.data.records import COLUMNS, LISTS
from unilogit.data.selectors import Kind
from unilogit.errors import InputError

_RECORD = ", ".join(f'"{name}"' for name in COLUMNS)
# Columns that older forget sets lack, with what their records have there.
_ADDED = {"history": "[]::VARCHAR[]", "system": "NULL::VARCHAR", "conversation_id": "NULL::VARCHAR"}
# What a digest of a record's content is over; of one that is no answer of a conversation, what it always was.
_CONTENT = ", ".join(f'"{name}"' for name in COLUMNS if name != "record_id" and name not in _ADDED)
_CONTENT = (
    f"row({_CONTENT})::VARCHAR || CASE WHEN len(history) > 0 OR system IS NOT NULL OR conversation_id IS NOT NULL"
    f" THEN row({', '.join(_ADDED)})::VARCHAR ELSE '' END"
)
_IS_SAME = " AND ".join(f'corpus."{name}" IS NOT DISTINCT FROM snapshot_rows."{name}"' for name in COLUMNS)


def load_snapshots(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """Make the tables `snapshot_claims` and `snapshot_only`, of the requests that the table `requests` names.

    snapshot_claims: row_number, request, kind, similarity: a record that was found for a request. Of records that the
    corpus does not hold as they were, row_number is −number.
    snapshot_only: number, from 1, and the columns of a record. Where another record has its record_id too, in the
    corpus or in a later snapshot, a digest of its content is added to it.

    Args:
        files: forget sets, the latest last.

    Raises:
        InputError: one of them cannot be read.
    """
    parts = [_select(file) for file in files]
    columns = ", ".join(f'NULL::{"VARCHAR[]" if name in LISTS else "VARCHAR"} AS "{name}"' for name in COLUMNS)
    nothing = f"SELECT {columns}, NULL::VARCHAR[] AS request_ids, '' AS kind, 0.0::DOUBLE AS similarity LIMIT 0"
    connection.execute(
        "CREATE TEMP TABLE snapshot_rows AS SELECT row_number() OVER () AS number, *"
        f" FROM ({' UNION ALL '.join(parts) or nothing})"
    )
    connection.execute(
        "CREATE TEMP TABLE snapshot_requests AS SELECT number, request, kind, similarity"
        " FROM (SELECT number, unnest(request_ids) AS name, kind, similarity FROM snapshot_rows)"
        " JOIN requests USING (name)"
    )
    connection.execute("DELETE FROM snapshot_rows WHERE number NOT IN (SELECT number FROM snapshot_requests)")
    connection.execute(
        f"CREATE TEMP TABLE twins AS SELECT corpus.row_number, number, {_IS_SAME} AS is_same"
        f" FROM corpus JOIN snapshot_rows USING (record_id)"
        if parts
        else "CREATE TEMP TABLE twins (row_number BIGINT, number BIGINT, is_same BOOLEAN)"
    )
    connection.execute(
        f"""
        CREATE TEMP TABLE changed_rows AS
        WITH digests AS (
            SELECT *, md5({_CONTENT}) AS content FROM snapshot_rows
            WHERE number NOT IN (SELECT number FROM twins WHERE is_same)
        ), named AS (
            SELECT * REPLACE (
                CASE WHEN number IN (SELECT number FROM twins)
                    OR content <> arg_max(content, number) OVER (PARTITION BY record_id)
                THEN record_id || '@' || content[:8] ELSE record_id END AS record_id
            ) FROM digests
        )
        SELECT *, min(number) OVER (PARTITION BY record_id, content) AS first_number FROM named
        """
    )
    connection.execute(
        f"CREATE TEMP TABLE snapshot_only AS SELECT number, {_RECORD} FROM changed_rows WHERE number = first_number"
    )
    connection.execute(
        "CREATE TEMP TABLE snapshot_claims AS"
        " SELECT row_number, request, kind, similarity FROM twins JOIN snapshot_requests USING (number)"
        " UNION ALL SELECT -first_number, request, kind, similarity"
        " FROM (SELECT number, first_number FROM changed_rows) JOIN snapshot_requests USING (number)"
    )


def _select(file: Path) -> str:
    """A query for the records of a forget set."""
    try:
        names = pq.read_schema(file).names
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: cannot be read as Parquet ({error}); restore it, or leave it out") from error
    kind = "match" if "match" in names else f"'{Kind.RECORD_ID}'"  # older ones do not say how a record was found
    similarity = "similarity" if "similarity" in names else "NULL::DOUBLE"
    lacking = set(_ADDED).difference(names)
    record = ", ".join(f"{_ADDED[name]} AS {name}" if name in lacking else f'"{name}"' for name in COLUMNS)
    return (
        f"SELECT {record}, request_ids, {kind} AS kind, {similarity} AS similarity"
        f" FROM read_parquet('{quoted(glob.escape(str(file)))}', hive_partitioning = false)"
    )
