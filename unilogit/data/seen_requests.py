"""Requests seen so far, by id: some forty bytes each. Knows nothing of where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import duckdb
import pyarrow as pa

from unilogit.data.requests import DeletionRequest


@dataclass(frozen=True)
class Seen:
    """An earlier request with the same request_id.

    Attributes:
        origin: file and row of the first.
        is_same: whether it asked the same.
    """

    origin: str
    is_same: bool


class SeenRequests:
    """A context manager that holds a database in memory while it is open."""

    def __enter__(self) -> Self:
        self._database = duckdb.connect()
        self._database.execute("CREATE TABLE seen (id UHUGEINT, content UHUGEINT, file UINTEGER, row UBIGINT)")
        self._files: dict[str, int] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def find(self, requests: Sequence[DeletionRequest]) -> dict[int, Seen]:
        """Position in `requests` → the request with its id that was added before."""
        chunk = self._chunk(requests)
        query = """
            SELECT chunk.position, seen.file, seen.row, seen.content = md5_number(chunk.content)
            FROM chunk JOIN seen ON seen.id = md5_number(chunk.id)
        """
        rows = self._database.register("chunk", chunk).execute(query).fetchall()
        names = list(self._files)
        return {position: Seen(f"{names[file]}:{row}", is_same) for position, file, row, is_same in rows}

    def add(self, requests: Sequence[DeletionRequest]) -> None:
        """Remember requests, whose ids are all new."""
        query = "INSERT INTO seen SELECT md5_number(id), md5_number(content), file, row FROM chunk"
        self._database.register("chunk", self._chunk(requests)).execute(query)

    def _chunk(self, requests: Sequence[DeletionRequest]) -> pa.Table:
        files = [self._files.setdefault(request.file, len(self._files)) for request in requests]
        columns = {
            "position": pa.array(range(len(requests)), pa.uint32()),
            "id": pa.array([request.request_id for request in requests], pa.string()),
            "content": pa.array([request.content_sha256 for request in requests], pa.string()),
            "file": pa.array(files, pa.uint32()),
            "row": pa.array([request.row for request in requests], pa.uint64()),
        }
        return pa.table(columns)
