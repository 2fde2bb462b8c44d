"""Deletion requests of a workspace, good and refused, as files. Knows nothing of how they are judged."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.workspace import Place, Workspace
from unilogit.data.parquet_rows import row_batches
from unilogit.data.request_fields import FIELDS, LISTS, TIMES
from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.data.rows import PROBLEMS_SHOWN
from unilogit.errors import InputError
from unilogit.files import atomic_path

_KINDS = {
    **dict.fromkeys(LISTS, pa.list_(pa.string())),
    **dict.fromkeys(TIMES, pa.timestamp("us", tz="UTC")),
    "row": pa.int64(),
}
_COLUMNS = (*FIELDS, "reference", "content_sha256", "file", "row")
REQUEST_SCHEMA = pa.schema([(name, _KINDS.get(name, pa.string())) for name in _COLUMNS])
_CHUNK = 20_000  # rows
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def request_columns(requests: Sequence[DeletionRequest]) -> pa.RecordBatch:
    """Requests in REQUEST_SCHEMA."""
    rows = map(attrgetter(*REQUEST_SCHEMA.names), requests)
    columns = zip(*rows, strict=True) if requests else [()] * len(REQUEST_SCHEMA)
    arrays = [pa.array(values, kind) for values, kind in zip(columns, REQUEST_SCHEMA.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=REQUEST_SCHEMA)


@contextmanager
def request_writer(file: Path) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """A function that adds `request_columns` to a Parquet file, which is there, whole, at the end."""
    with atomic_path(file) as temporary, pq.ParquetWriter(temporary, REQUEST_SCHEMA) as writer:
        yield writer.write_batch


def write_requests(file: Path, requests: Iterable[DeletionRequest]) -> None:
    """Write requests as Parquet in REQUEST_SCHEMA, whole or not at all."""
    left = iter(requests)
    with request_writer(file) as write:
        while chunk := list(islice(left, _CHUNK)):
            write(request_columns(chunk))


def read_requests(workspace: Workspace) -> Iterator[DeletionRequest]:
    """The good requests, as they were taken in: they are neither parsed nor hashed again."""
    with pq.ParquetFile(workspace.path(Place.REQUESTS)) as parquet:
        for batch in row_batches(parquet, _CHUNK):
            for row in zip(*map(_values, batch.columns), strict=True):
                yield DeletionRequest.kept(**dict(zip(_COLUMNS, row, strict=True)))


def _values(column: pa.Array) -> list[object]:
    if pa.types.is_timestamp(column.type):  # Arrow makes a time in six times as long
        return [_EPOCH + timedelta(microseconds=elapsed) for elapsed in column.cast(pa.int64()).to_pylist()]
    values: list[object] = column.to_pylist()
    return values


def read_refused(workspace: Workspace) -> Iterator[Rejection]:
    """The rows that are no requests, in the order of files and rows."""
    with open(workspace.path(Place.REFUSED_REQUESTS), "rb") as stream:
        for line in stream:
            yield Rejection.model_validate_json(line)


def require_good(*workspaces: Workspace) -> None:
    """Do nothing if there is a good request in one of the workspaces.

    Raises:
        InputError: there is none; says what is wrong with the first rows.
    """
    if any(pq.read_metadata(workspace.path(Place.REQUESTS)).num_rows for workspace in workspaces):
        return
    refused = chain.from_iterable(read_refused(workspace) for workspace in workspaces)
    problems = [str(rejection) for rejection in islice(refused, PROBLEMS_SHOWN)]
    hidden = sum(1 for _ in refused)
    if hidden:
        places = ", ".join(str(workspace.path(Place.REFUSED_REQUESTS)) for workspace in workspaces)
        problems.append(f"and {hidden} more; see {places}")
    raise InputError(*problems, "no deletion request can be used; correct them and take them in again")
