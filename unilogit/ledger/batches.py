"""A batch as the tables have it: the requests that it was taken with, those that are in it, and its own row.

Knows neither why a batch is opened nor what is told of its requests.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError
from unilogit.ledger.audit import Standing
from unilogit.ledger.queries import BY_URGENCY, as_request
from unilogit.ledger.states import IN_WORK, IllegalMove, RequestState
from unilogit.ledger.tables import BatchRow, MemberRow, RequestRow

_OUT_OF_BATCH = (
    RequestState.validated,
    RequestState.watched,
    RequestState.held,
    RequestState.withdrawn,
    RequestState.not_found,
    RequestState.rejected,
)
"""States of a request that has left the work of its batch before the model unlearned it."""


@dataclass(frozen=True)
class Batch:
    """The open batch.

    Attributes:
        requests: all that it was taken with, the most urgent first.
        in_work: the references of those still in work.
        withdrawn: the references of those that left it by their own wish.
        approved: reference → reasons for which it must not be held again.
        resumed: an earlier call opened it.
        attempts: how many times it was taken up, this one included.
    """

    batch_id: str
    requests: list[DeletionRequest]
    in_work: list[str]
    withdrawn: list[str]
    approved: dict[str, list[str]]
    resumed: bool
    attempts: int


def batch_rows(connection: sa.Connection, batch_id: str, states: Iterable[RequestState]) -> list[Standing]:
    """The requests that are in a batch, or were in it last, in these states, the most urgent first.

    Raises:
        InputError: there is no such batch.
    """
    get_batch(connection, batch_id)
    query = sa.select(RequestRow.reference, RequestRow.state)
    query = query.where(RequestRow.batch_id == batch_id, RequestRow.state.in_(states)).order_by(*BY_URGENCY)
    return [Standing(*row) for row in connection.execute(query)]


def load_batch(connection: sa.Connection, batch_id: str, attempts: int) -> Batch:
    query = sa.select(
        RequestRow.reference, RequestRow.content, RequestRow.batch_id, RequestRow.state, RequestRow.approvals
    )
    query = query.join(MemberRow, MemberRow.reference == RequestRow.reference)
    rows = connection.execute(query.where(MemberRow.batch_id == batch_id).order_by(*BY_URGENCY)).all()
    return Batch(
        batch_id=batch_id,
        requests=[as_request(row.reference, row.content) for row in rows],
        in_work=[row.reference for row in rows if row.state in IN_WORK and row.batch_id == batch_id],
        withdrawn=withdrawn_members(connection, batch_id),
        approved={row.reference: row.approvals for row in rows if row.approvals},
        resumed=attempts > 1,
        attempts=attempts,
    )


class BatchEnd(NamedTuple):
    """How far a batch has come."""

    finished_at: datetime | None
    training_at: datetime | None
    passed: bool | None


def get_batch(connection: sa.Connection, batch_id: str) -> BatchEnd:
    """How far a batch has come.

    Raises:
        InputError: there is none of this name.
    """
    query = sa.select(BatchRow.finished_at, BatchRow.training_at, BatchRow.passed).where(BatchRow.batch_id == batch_id)
    batch = connection.execute(query).tuples().one_or_none()
    if batch is None:
        raise InputError(f"there is no batch {batch_id}; `unilogit requests list` shows every one")
    return BatchEnd(*batch)


def references(connection: sa.Connection, batch_id: str) -> dict[str, str]:
    """Every name of the requests that the batch was taken with, with its reference."""
    query = sa.select(RequestRow.request_id, RequestRow.reference)
    query = query.join(MemberRow, MemberRow.reference == RequestRow.reference).where(MemberRow.batch_id == batch_id)
    pairs = connection.execute(query).tuples().all()
    return dict(pairs) | {reference: reference for _, reference in pairs}


def still_batched(
    connection: sa.Connection, batch_id: str, names: Iterable[str], target: RequestState
) -> list[Standing]:
    """Of these requests of the batch, those still in its work; others left it, as a person or an earlier call had it.

    Raises:
        IllegalMove: the batch was not taken with one of them, or the model has unlearned it.
    """
    get_batch(connection, batch_id)
    known = references(connection, batch_id)
    names = list(names)
    if strangers := [name for name in names if name not in known]:
        raise IllegalMove(f"batch {batch_id} does not hold request {strangers[0]}")
    wanted = {known[name] for name in names}
    present = batch_rows(connection, batch_id, [state for state in RequestState if state not in _OUT_OF_BATCH])
    rows = [row for row in present if row.reference in wanted]
    if unlearned := [row for row in rows if row.state != RequestState.batched]:
        raise IllegalMove(f"request {unlearned[0].reference} cannot go from {unlearned[0].state} to {target}")
    return rows


def withdrawn_members(connection: sa.Connection, batch_id: str) -> list[str]:
    query = sa.select(MemberRow.reference).where(MemberRow.batch_id == batch_id, MemberRow.withdrawn)
    return list(connection.execute(query.order_by(MemberRow.reference)).scalars())


def set_batch(connection: sa.Connection, batch_id: str, **values: object) -> None:
    connection.execute(sa.update(BatchRow).where(BatchRow.batch_id == batch_id).values(values))


def close_batch(connection: sa.Connection, batch_id: str, passed: bool | None) -> None:
    set_batch(connection, batch_id, finished_at=datetime.now(UTC), passed=passed)
