"""What the ledger holds: one request, listings that never load it whole, counts, and proof that it is whole.

Changes nothing.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError
from unilogit.ledger import audit
from unilogit.ledger.audit import CHUNK, Move
from unilogit.ledger.database import Database
from unilogit.ledger.states import ENDED, RequestState
from unilogit.ledger.tables import BatchRow, FileRow, RejectionRow, RequestRow, utc_text

BY_URGENCY = (RequestRow.due_at, RequestRow.received_at, RequestRow.reference)


@dataclass(frozen=True)
class LedgerRow:
    """A request without what it asks; times are UTC.

    Attributes:
        reference: what it is called where no personal data may be; `request_id` may be personal.
        batch_id: the batch that it is in, or was in last; None when it waits for one.
        origin: "file:row"; empty when purged.
        held_reasons: why it was held for a person's decision.
        approvals: reasons that a person has overruled.
        watched_since, searched_at: since when nothing of it was in the corpus, and when that was last looked for.
        certificate_sha256: digest of its certificate, once fulfilled.
        purged_at: when its content was forgotten.
    """

    reference: str
    request_id: str
    state: RequestState
    received_at: datetime
    due_at: datetime
    batch_id: str | None
    origin: str
    content_sha256: str
    held_reasons: list[str]
    approvals: list[str]
    watched_since: datetime | None
    searched_at: datetime | None
    searched_corpus: str | None
    certificate_sha256: str | None
    purged_at: datetime | None


@dataclass(frozen=True)
class RejectedRow:
    """A refused row, without its text, which stays in the quarantine file; `at` is UTC."""

    file: str
    row: int
    reasons: list[str]
    at: datetime


@dataclass(frozen=True)
class BatchSummary:
    """A batch: its dates in UTC, its verdict, and how many of the requests that are still its own stand where."""

    batch_id: str
    opened_at: datetime
    training_at: datetime | None
    finished_at: datetime | None
    passed: bool | None
    attempts: int
    states: dict[RequestState, int]


_COLUMNS = (
    RequestRow.reference,
    RequestRow.request_id,
    RequestRow.state,
    RequestRow.received_at,
    RequestRow.due_at,
    RequestRow.batch_id,
    RequestRow.origin,
    RequestRow.content_sha256,
    RequestRow.held_reasons,
    RequestRow.approvals,
    RequestRow.watched_since,
    RequestRow.searched_at,
    RequestRow.searched_corpus,
    RequestRow.certificate_sha256,
    RequestRow.purged_at,
)


def find_row(connection: sa.Connection, name: str) -> LedgerRow:
    """The request with this reference, or else with this request_id.

    Raises:
        InputError: there is none.
    """
    for column in (RequestRow.reference, RequestRow.request_id):
        if row := connection.execute(sa.select(*_COLUMNS).where(column == name)).one_or_none():
            return LedgerRow(**row._mapping)
    raise InputError(f"there is no request {name}; `unilogit requests list` shows every one")


def as_request(reference: str, content: str) -> DeletionRequest:
    """What a stored request asks, with its reference."""
    request = DeletionRequest.model_validate_json(content)
    return request if request.reference == reference else request.model_copy(update={"reference": reference})


def _is_unchanged(content: str, sha256: str) -> bool:
    try:
        return DeletionRequest.model_validate_json(content).content_sha256 == sha256
    except ValueError:
        return False


class Queries(Database):
    """The part of Ledger that answers questions."""

    def knows_file(self, sha256: str) -> bool:
        """Whether a file with this content was taken in."""
        with self._reading() as connection:
            query = sa.select(FileRow.sha256).where(FileRow.sha256 == sha256)
            return connection.execute(query).one_or_none() is not None

    def find(self, name: str) -> LedgerRow:
        """A request, by its reference or its request_id.

        Raises:
            InputError: there is no such request.
        """
        with self._reading() as connection:
            return find_row(connection, name)

    def get(self, name: str) -> DeletionRequest:
        """What a request asks.

        Raises:
            InputError: there is no such request, or its content was purged.
        """
        with self._reading() as connection:
            row = find_row(connection, name)
            query = sa.select(RequestRow.content).where(RequestRow.reference == row.reference)
            content = connection.execute(query).scalar_one()
        if row.purged_at:
            raise InputError(f"request {row.reference}: what it asked was purged on {row.purged_at:%Y-%m-%d}")
        return as_request(row.reference, content)

    def requests(
        self, state: str | None = None, limit: int | None = None, batches: Collection[str] | None = None
    ) -> Iterator[LedgerRow]:
        """Requests, the most urgent first. Read page by page: one that moves meanwhile is seen before or after.

        Args:
            state: only those that stand there.
            limit: at most so many.
            batches: only those that are in these batches, or were so last.

        Raises:
            InputError: there is no such state.
        """
        if state is not None and state not in set(RequestState):
            raise InputError(f"there is no state {state}; choose one of {', '.join(RequestState)}")
        query = sa.select(*_COLUMNS)
        if state is not None:
            query = query.where(RequestRow.state == state)
        if batches is not None:
            query = query.where(RequestRow.batch_id.in_(batches))
        return self._pages(query, limit)

    def overdue(self, now: datetime, margin: timedelta, limit: int | None = None) -> Iterator[LedgerRow]:
        """Requests that have not ended and are due, or will be a `margin` later, the most urgent first."""
        waiting = [state for state in RequestState if state not in ENDED]
        query = sa.select(*_COLUMNS).where(RequestRow.state.in_(waiting), RequestRow.due_at < now + margin)
        return self._pages(query, limit)

    def _pages(self, query: sa.Select, limit: int | None) -> Iterator[LedgerRow]:
        """The rows of a query in short reads: whoever is slow to use them keeps no writer waiting."""
        page, count = query.order_by(*BY_URGENCY), 0
        while limit is None or count < limit:
            size = CHUNK if limit is None else min(CHUNK, limit - count)
            with self._reading() as connection:
                rows = [LedgerRow(**row._mapping) for row in connection.execute(page.limit(size))]
            yield from rows
            if len(rows) < size:
                return
            count += size
            last = (utc_text(rows[-1].due_at), utc_text(rows[-1].received_at), rows[-1].reference)
            page = query.order_by(*BY_URGENCY).where(sa.tuple_(*BY_URGENCY) > sa.tuple_(*map(sa.literal, last)))

    def counts(self) -> dict[str, int]:
        """How many requests stand in each state, zeros included; `rejected` counts the refused rows too."""
        counts = dict.fromkeys(map(str, RequestState), 0)
        with self._reading() as connection:
            query = sa.select(RequestRow.state, sa.func.count()).group_by(RequestRow.state)
            counts.update(connection.execute(query).tuples().all())
            counts[RequestState.rejected] += connection.execute(
                sa.select(sa.func.count(RejectionRow.number))
            ).scalar_one()
        return counts

    def rejections(self, limit: int | None = None, start: datetime | None = None) -> Iterator[RejectedRow]:
        """Refused rows, the oldest first, read page by page; all, or those that were refused at a time or later."""
        number, count = 0, 0
        while limit is None or count < limit:
            size = CHUNK if limit is None else min(CHUNK, limit - count)
            query = sa.select(
                RejectionRow.number, RejectionRow.file, RejectionRow.row, RejectionRow.reasons, RejectionRow.at
            )
            query = query.where(RejectionRow.number > number).order_by(RejectionRow.number).limit(size)
            if start is not None:
                query = query.where(RejectionRow.at >= start)
            with self._reading() as connection:
                rows = connection.execute(query).all()
            yield from (RejectedRow(row.file, row.row, row.reasons, row.at) for row in rows)
            if len(rows) < size:
                return
            number, count = rows[-1].number, count + size

    def batches(self) -> list[BatchSummary]:
        """Every batch, the oldest first."""
        counting = (
            sa.select(RequestRow.batch_id, RequestRow.state, sa.func.count())
            .where(RequestRow.batch_id.is_not(None))
            .group_by(RequestRow.batch_id, RequestRow.state)
        )
        query = sa.select(
            BatchRow.batch_id,
            BatchRow.opened_at,
            BatchRow.training_at,
            BatchRow.finished_at,
            BatchRow.passed,
            BatchRow.attempts,
        ).order_by(BatchRow.opened_at, BatchRow.batch_id)
        states: dict[str | None, dict[RequestState, int]] = {}
        with self._reading() as connection:
            for batch_id, state, count in connection.execute(counting):
                states.setdefault(batch_id, {})[state] = count
            return [BatchSummary(*row, states.get(row[0], {})) for row in connection.execute(query).tuples()]

    def history(self, name: str) -> list[Move]:
        """Every move of a request, the first one first.

        Raises:
            InputError: there is no such request.
        """
        with self._reading() as connection:
            return audit.history(connection, find_row(connection, name).reference)

    def changed_requests(self) -> Iterator[str]:
        """References of requests whose content is not what was taken in; read page by page."""
        last = ""
        while True:
            query = sa.select(RequestRow.reference, RequestRow.content, RequestRow.content_sha256)
            query = query.where(RequestRow.reference > last, RequestRow.purged_at.is_(None))
            with self._reading() as connection:
                rows = connection.execute(query.order_by(RequestRow.reference).limit(CHUNK)).all()
            yield from (row.reference for row in rows if not _is_unchanged(row.content, row.content_sha256))
            if len(rows) < CHUNK:
                return
            last = rows[-1].reference

    def verify_audit(self) -> int:
        """Check the hash chain, and that every request stands where its last audited move left it.

        Returns:
            How many rows the audit table has.

        Raises:
            AuditBroken: naming the first sequence number that does not fit, or else the request.
        """
        with self._reading() as connection:
            return audit.verify(connection)
