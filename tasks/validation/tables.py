"""Deletion requests of a workspace, good and refused, as files. Knows nothing of how they are judged."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.workspace import Place, Workspace
from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.data.rows import first_problems
from unilogit.errors import InputError
from unilogit.files import atomic_path

_KINDS = {
    "aliases": pa.list_(pa.string()),
    "record_ids": pa.list_(pa.string()),
    "received_at": pa.timestamp("us", tz="UTC"),
    "due_at": pa.timestamp("us", tz="UTC"),
    "row": pa.int64(),
}
REQUEST_SCHEMA = pa.schema([(name, _KINDS.get(name, pa.string())) for name in DeletionRequest.model_fields])


def write_requests(file: Path, requests: Iterable[DeletionRequest]) -> None:
    """Write requests as Parquet in REQUEST_SCHEMA, whole or not at all."""
    table = pa.Table.from_pylist([request.model_dump() for request in requests], schema=REQUEST_SCHEMA)
    with atomic_path(file) as temporary:
        pq.write_table(table, temporary)


def read_requests(workspace: Workspace) -> list[DeletionRequest]:
    """The good requests, as they were taken in: they are not parsed again."""
    rows = pq.read_table(workspace.path(Place.REQUESTS)).to_pylist()
    return [DeletionRequest.model_construct(**row) for row in rows]


def read_refused(workspace: Workspace) -> list[Rejection]:
    """The rows that are no requests, in the order of files and rows."""
    lines = workspace.path(Place.REFUSED_REQUESTS).read_bytes().splitlines()
    return [Rejection.model_validate_json(line) for line in lines]


def require_good(workspace: Workspace) -> None:
    """Do nothing if there is a good request.

    Raises:
        InputError: there is none; says what is wrong with the first rows.
    """
    if not pq.read_metadata(workspace.path(Place.REQUESTS)).num_rows:
        rest = f"; see {workspace.path(Place.REFUSED_REQUESTS)}"
        raise InputError(
            *first_problems([str(rejection) for rejection in read_refused(workspace)], rest),
            "no deletion request can be used; correct them and take them in again",
        )
