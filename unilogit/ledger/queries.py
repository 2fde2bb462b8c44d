"""What the ledger holds, read within a session: listings, counts, and the requests of a batch.

Knows what is asked of the tables. Changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError
from unilogit.ledger.states import RequestState
from unilogit.ledger.tables import BatchRow, RejectionRow, RequestRow

BY_URGENCY = (RequestRow.due_at, RequestRow.received_at, RequestRow.request_id)
_IDS_PER_QUERY = 1000  # databases bound the parameters of a query


@dataclass(frozen=True)
class LedgerRow:
    """A request without what it asks, for listings; times are UTC, `origin` is "file:row"."""

    request_id: str
    state: RequestState
    received_at: datetime
    due_at: datetime
    batch_id: str | None
    origin: str


@dataclass(frozen=True)
class RejectedRow:
    """A refused row, without its text, which stays in the quarantine file; `at` is UTC."""

    file: str
    row: int
    reasons: list[str]
    at: datetime


class Identity(NamedTuple):
    """What a request is known again by, and where it first stood."""

    content_sha256: str
    origin: str


def stored_identities(session: Session, request_ids: list[str]) -> dict[str, Identity]:
    """The identity of every one of these requests that is stored, by its request_id."""
    columns = sa.select(RequestRow.request_id, RequestRow.content_sha256, RequestRow.origin)
    identities: dict[str, Identity] = {}
    for start in range(0, len(request_ids), _IDS_PER_QUERY):
        query = columns.where(RequestRow.request_id.in_(request_ids[start : start + _IDS_PER_QUERY]))
        for request_id, content_sha256, origin in session.execute(query):
            identities[request_id] = Identity(content_sha256, origin)
    return identities


def parse_requests(rows: Iterable[RequestRow]) -> list[DeletionRequest]:
    """What these rows ask, in their order."""
    return [DeletionRequest.model_validate_json(row.content) for row in rows]


def check_batch(session: Session, batch_id: str) -> None:
    """Raise InputError when there is no such batch."""
    if session.get(BatchRow, batch_id) is None:
        raise InputError(f"there is no batch {batch_id}; `unilogit requests list` shows every one")


def batch_requests(
    session: Session, batch_id: str, states: Sequence[RequestState] = tuple(RequestState)
) -> Sequence[RequestRow]:
    """The requests of a batch in these states, the most urgent first.

    Raises:
        InputError: there is no such batch.
    """
    check_batch(session, batch_id)
    query = sa.select(RequestRow).where(RequestRow.batch_id == batch_id, RequestRow.state.in_(states))
    return session.scalars(query.order_by(*BY_URGENCY)).all()


def count_states(session: Session) -> dict[str, int]:
    """How many requests stand in each state, zeros included; `rejected` counts the refused rows too."""
    counts = dict.fromkeys(map(str, RequestState), 0)
    for state, count in session.execute(sa.select(RequestRow.state, sa.func.count()).group_by(RequestRow.state)):
        counts[state] = count
    counts[RequestState.rejected] += session.scalar(sa.select(sa.func.count(RejectionRow.number))) or 0
    return counts


def list_requests(session: Session, state: RequestState | None) -> list[LedgerRow]:
    """Every request, or those in `state`, the most urgent first."""
    query = sa.select(
        RequestRow.request_id,
        RequestRow.state,
        RequestRow.received_at,
        RequestRow.due_at,
        RequestRow.batch_id,
        RequestRow.origin,
    ).order_by(*BY_URGENCY)
    if state is not None:
        query = query.where(RequestRow.state == state)
    return [LedgerRow(*row) for row in session.execute(query)]


def list_rejections(session: Session) -> list[RejectedRow]:
    """Every refused row, the oldest first."""
    rows = session.scalars(sa.select(RejectionRow).order_by(RejectionRow.number))
    return [RejectedRow(row.file, row.row, row.reasons, row.at) for row in rows]
