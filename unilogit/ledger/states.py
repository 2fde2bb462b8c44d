"""The states of a request and the moves between them that are legal.

Knows no database: where a request stands is stored by tables.py, and changed by audit.py alone.
"""

from enum import StrEnum


class RequestState(StrEnum):
    """Where a request stands."""

    received = "received"
    validated = "validated"
    batched = "batched"
    unlearned = "unlearned"
    awaiting_promotion = "awaiting_promotion"
    fulfilled = "fulfilled"
    purged = "purged"
    failed = "failed"
    escalated = "escalated"
    watched = "watched"
    not_found = "not_found"
    held = "held"
    withdrawn = "withdrawn"
    rejected = "rejected"


_S = RequestState
MOVES: dict[RequestState, frozenset[RequestState]] = {
    _S.received: frozenset({_S.validated, _S.rejected}),
    _S.validated: frozenset({_S.batched, _S.withdrawn}),
    _S.batched: frozenset({_S.unlearned, _S.watched, _S.held, _S.failed, _S.validated, _S.withdrawn}),
    _S.unlearned: frozenset({_S.awaiting_promotion, _S.failed, _S.validated}),
    _S.awaiting_promotion: frozenset({_S.fulfilled, _S.failed, _S.validated}),
    _S.fulfilled: frozenset({_S.purged, _S.validated}),
    _S.failed: frozenset({_S.batched, _S.validated, _S.awaiting_promotion, _S.escalated, _S.withdrawn}),
    _S.escalated: frozenset({_S.unlearned, _S.failed, _S.validated}),
    _S.watched: frozenset({_S.batched, _S.withdrawn, _S.not_found}),
    _S.not_found: frozenset({_S.validated}),
    _S.held: frozenset({_S.validated, _S.rejected, _S.withdrawn}),
    _S.rejected: frozenset({_S.validated}),
    _S.withdrawn: frozenset({_S.validated}),
    _S.purged: frozenset(),
}
IN_WORK = (_S.batched, _S.unlearned)
"""The states of a request that an open batch still works on."""
REPLAYED = (_S.unlearned, _S.awaiting_promotion, _S.fulfilled, _S.failed, _S.escalated)
"""The states of a request whose forgetting every later run replays."""
ENDED = (_S.fulfilled, _S.purged, _S.not_found, _S.withdrawn, _S.rejected)
"""The states of a request that waits for nothing, whatever its due date."""


class IllegalMove(Exception):
    """A change of state that the ledger does not allow: a defect of the caller."""


def check_move(reference: str, state: RequestState | None, target: RequestState) -> None:
    """Refuse a move that MOVES does not list.

    Args:
        state: where the request stands; None before it is stored, when it can only be received.

    Raises:
        IllegalMove: naming the request and both states.
    """
    if target not in (MOVES[state] if state else {RequestState.received}):
        raise IllegalMove(f"request {reference} cannot go from {state} to {target}")
