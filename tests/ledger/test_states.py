"""The states of a request: every one can be reached, and the legal moves are all there are."""

import pytest

from unilogit.ledger import ENDED, MOVES, IllegalMove, RequestState
from unilogit.ledger.states import IN_WORK, check_move


def test_every_state_has_its_moves_and_they_lead_to_states():
    assert set(MOVES) == set(RequestState)
    assert [state for state, moves in MOVES.items() if not moves] == ["purged"]
    reached, border = {RequestState.received}, [RequestState.received]
    while border:
        border = [state for state in MOVES[border.pop()] - reached if not reached.add(state)] + border
    assert reached == set(RequestState)


def test_what_has_ended_can_only_be_reopened_or_forgotten():
    assert all(MOVES[state] <= {"validated", "purged"} for state in ENDED)
    assert not set(ENDED) & set(IN_WORK)


def test_a_new_request_can_only_be_received():
    check_move("r1", None, RequestState.received)
    for target in set(RequestState) - {RequestState.received}:
        with pytest.raises(IllegalMove, match=f"request r1 cannot go from None to {target}"):
            check_move("r1", None, target)


def test_what_is_purged_stays_so():
    for target in RequestState:
        with pytest.raises(IllegalMove, match=f"request r1 cannot go from purged to {target}"):
            check_move("r1", RequestState.purged, target)
