"""How requests come into the ledger: from a file, once each, however many there are.

Knows nothing of what becomes of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.ledger.audit import Entry, chunks, record
from unilogit.ledger.database import Database
from unilogit.ledger.states import RequestState
from unilogit.ledger.tables import FileRow, RejectionRow, RequestRow, insert_rows, parameter_mark


@dataclass(frozen=True)
class Receipt:
    """What taking in one file did: requests stored, requests known before, and rows refused.

    `purged` says how many of those known before were fulfilled and then forgotten by the ledger: whoever means them
    anew gives them new ids.
    """

    file: str
    new: int
    repeated: int
    rejected: int
    purged: int = 0

    def __str__(self) -> str:
        forgotten = f" ({self.purged} of them since purged: file them anew, with new ids)" if self.purged else ""
        return f"{self.file}: {self.new} new, {self.repeated} taken in before{forgotten}, {self.rejected} rejected"


_STORED = ("reference", "request_id", "state", "received_at", "due_at", "origin", "content", "content_sha256")


class _Known(NamedTuple):
    """A request that is stored already, or will be by this chunk."""

    content_sha256: str
    origin: str  # empty when purged


class Intake(Database):
    """The part of Ledger that takes requests in."""

    def receive(
        self, file: str, sha256: str, requests: Iterable[DeletionRequest], rejections: Iterable[Rejection], run: str
    ) -> Receipt:
        """Take in one file: remember it, store what is new, note what is refused. Streams: memory does not grow.

        The same request again is counted, not stored; the same request_id with other content is refused. A
        file taken in before changes nothing: all its requests count as repeated.

        Args:
            file: its name, for people; nobody's data.
            sha256: digest of its content.
            requests, rejections: what it holds; read once.
        """
        now = datetime.now(UTC)
        with self._writing() as connection:
            if connection.execute(sa.select(FileRow.sha256).where(FileRow.sha256 == sha256)).one_or_none():
                return Receipt(file, new=0, repeated=sum(1 for _ in requests), rejected=0)
            connection.execute(sa.insert(FileRow).values(sha256=sha256, file=file, at=now, run=run))
            new = repeated = rejected = purged = 0
            why = f"file {sha256[:12]}"  # not its name
            for refused in chunks(rejections):
                rejected += _reject(connection, refused, now)
            for chunk in chunks(requests):
                fresh, refused, old = _sort_out(connection, chunk)
                _store(connection, fresh, why, run)
                new += len(fresh)
                rejected += _reject(connection, refused, now)
                repeated += len(old)
                purged += sum(not known.origin for known in old)
            return Receipt(file, new, repeated, rejected, purged)


def _sort_out(
    connection: sa.Connection, requests: list[DeletionRequest]
) -> tuple[dict[str, DeletionRequest], list[Rejection], list[_Known]]:
    """What is new of these requests, by reference, what is refused, and what was known before."""
    by_id, by_reference = _stored(connection, requests)
    fresh: dict[str, DeletionRequest] = {}
    refused: list[Rejection] = []
    old: list[_Known] = []
    for request in requests:
        reference = request.reference or request.request_id
        known = by_id.get(request.request_id) or by_reference.get(reference)
        if known is None:
            by_id[request.request_id] = by_reference[reference] = _Known(request.content_sha256, request.origin)
            fresh[reference] = request
        elif known.content_sha256 == request.content_sha256:
            old.append(known)
        else:
            reason = (
                f"request {reference} was taken in before with other content ({known.origin or 'since purged'}); "
                "give it a request_id of its own"
            )
            refused.append(Rejection(file=request.file, row=request.row, reasons=[reason], raw=""))
    return fresh, refused, old


def _stored(connection: sa.Connection, requests: list[DeletionRequest]) -> tuple[dict[str, _Known], dict[str, _Known]]:
    """The stored requests that these may repeat, by request_id and by reference."""
    names = {request.request_id for request in requests}
    names.update(request.reference for request in requests if request.reference)
    by_id: dict[str, _Known] = {}
    by_reference: dict[str, _Known] = {}
    for column in ("request_id", "reference"):
        # By the driver alone: SQLAlchemy takes longer to write thousands of parameters than the database to look.
        marks = ", ".join([parameter_mark(connection)] * len(names))
        query = f"SELECT request_id, reference, content_sha256, origin FROM ledger_requests WHERE {column} IN ({marks})"
        for request_id, reference, *known in connection.exec_driver_sql(query, tuple(names)):
            by_id[request_id] = by_reference[reference] = _Known(*known)
    return by_id, by_reference


def _store(connection: sa.Connection, requests: dict[str, DeletionRequest], why: str, run: str) -> None:
    """Store new requests, by reference, and say so in the audit table."""
    if not requests:
        return
    received, validated = RequestState.received, RequestState.validated
    record(connection, (Entry(name, None, received, why) for name in requests), run)
    received_at = _utc_texts([request.received_at for request in requests.values()])
    due_at = _utc_texts([request.due_at for request in requests.values()])
    rows = [
        (
            reference,
            request.request_id,
            validated.value,
            *times,
            request.origin,
            request.model_dump_json(),
            request.content_sha256,
        )
        for (reference, request), *times in zip(requests.items(), received_at, due_at, strict=True)
    ]
    insert_rows(connection, RequestRow, _STORED, rows)
    record(connection, (Entry(name, received, validated, why) for name in requests), run)


def _utc_texts(times: list[datetime]) -> list[str]:
    """`utc_text` of many times: of a million it alone takes three seconds."""
    moments = pa.array(times, pa.timestamp("us", tz="UTC")).to_numpy(zero_copy_only=False)
    return [f"{text}+00:00" for text in np.datetime_as_string(moments).tolist()]


def _reject(connection: sa.Connection, rejections: list[Rejection], now: datetime) -> int:
    """Note refused rows, without their text; how many."""
    rows = [{"file": item.file, "row": item.row, "reasons": item.reasons, "at": now} for item in rejections]
    if rows:
        connection.execute(sa.insert(RejectionRow), rows)
    return len(rows)
