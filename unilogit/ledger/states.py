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
    no_match = "no_match"
    rejected = "rejected"
    failed = "failed"
    escalated = "escalated"


_S = RequestState
MOVES: dict[RequestState, frozenset[RequestState]] = {
    _S.received: frozenset({_S.validated, _S.rejected}),
    _S.validated: frozenset({_S.batched}),
    _S.batched: frozenset({_S.unlearned, _S.no_match, _S.failed}),
    _S.unlearned: frozenset({_S.awaiting_promotion, _S.failed}),
    _S.awaiting_promotion: frozenset({_S.fulfilled, _S.failed}),  # failed: promotion refused or put back
    _S.failed: frozenset({_S.batched, _S.escalated}),
    _S.escalated: frozenset({_S.unlearned, _S.failed}),
    _S.fulfilled: frozenset(),
    _S.no_match: frozenset(),
    _S.rejected: frozenset(),
}
IN_WORK = (_S.batched, _S.unlearned)
"""The states of a request that an open batch still works on."""
REPLAYED = (_S.unlearned, _S.awaiting_promotion, _S.fulfilled, _S.failed, _S.escalated)
"""The states of a request whose forgetting every later run replays."""


class IllegalMove(Exception):
    """A change of state that the ledger does not allow: a defect of the caller."""


def check_move(request_id: str, state: RequestState | None, target: RequestState) -> None:
    """Refuse a move that MOVES does not list.

    Args:
        state: where the request stands; None before it is stored, when it can only be received.

    Raises:
        IllegalMove: naming the request and both states.
    """
    if target not in (MOVES[state] if state else {RequestState.received}):
        raise IllegalMove(f"request {request_id} cannot go from {state} to {target}")
