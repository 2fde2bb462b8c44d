"""What people decide: what it does, that typing it again does nothing, and where it is refused."""

import pytest

from tests.ledger.lives import CORPUS, LATER_CORPUS, ids, make_request, numbered_requests, open_batch, states, take
from tests.ledger.lives import promoted_batch as promote
from unilogit.errors import InputError
from unilogit.ledger import IllegalMove


@pytest.fixture
def held(ledger):
    """A ledger in which r000 is held and r001 in work."""
    take(ledger, *numbered_requests(2))
    batch = open_batch(ledger)
    ledger.hold(batch.batch_id, {"r000": ["matches half the corpus"]}, "run")
    return ledger


def test_a_request_can_be_withdrawn_until_training_begins(ledger):
    take(ledger, make_request("zoe@example.org", days=1, reference="request-1"), *numbered_requests(4))
    batch = open_batch(ledger, 3)
    for _ in range(2):
        ledger.withdraw("zoe@example.org", "Ada")  # in a batch
        ledger.withdraw("r003", "Ada")  # waiting
    assert [move.run for move in ledger.history("request-1")][-1] == "person: Ada"
    assert ledger.history("request-1")[-1].to_state == "withdrawn"
    assert open_batch(ledger).withdrawn == ["request-1"]
    assert ledger.begin_training(batch.batch_id, "run") == ["request-1"]
    ledger.withdraw("r000", "Ada")  # it has not begun
    assert ledger.begin_training(batch.batch_id, "run", ["request-1"]) == ["r000"]
    assert ledger.begin_training(batch.batch_id, "run", ["request-1", "r000"]) == []
    moves = ledger.verify_audit()
    for state in ("batched", "unlearned", "awaiting_promotion", "fulfilled"):
        assert ledger.find("r001").state == state
        with pytest.raises(InputError, match=r"r001 cannot be withdrawn any more: .*cannot be undone"):
            ledger.withdraw("r001", "Ada")
        assert ledger.verify_audit() == moves
        if state == "batched":
            ledger.unlearned(batch.batch_id, "run")
        elif state == "unlearned":
            ledger.finish_batch(batch.batch_id, True, "run")
        elif state == "awaiting_promotion":
            ledger.fulfil({"r001": "c" * 64}, "run", "Ada")
        moves = ledger.verify_audit()
    assert [row.reference for row in ledger.requests("withdrawn")] == ["request-1", "r000", "r003"]


def test_what_is_watched_held_or_failed_can_be_withdrawn(ledger):
    take(ledger, *numbered_requests(3))
    batch = open_batch(ledger)
    ledger.watch(batch.batch_id, ["r000"], CORPUS, "run")
    ledger.hold(batch.batch_id, {"r001": ["too short"]}, "run")
    ledger.finish_batch(batch.batch_id, False, "run")
    for name in ("r000", "r001", "r002"):
        ledger.withdraw(name, "Ada")
    assert set(states(ledger).values()) == {"withdrawn"}
    ledger.watch(batch.batch_id, ["r000"], CORPUS, "run")  # told again by a run that was killed
    ledger.hold(batch.batch_id, {"r001": ["too short"]}, "run")
    assert set(states(ledger).values()) == {"withdrawn"}


def test_training_of_a_closed_batch_cannot_begin(ledger):
    take(ledger, *numbered_requests(1))
    batch_id = promote(ledger)
    with pytest.raises(IllegalMove, match="is closed"):
        ledger.begin_training(batch_id, "run")


def test_an_approved_request_is_not_held_for_the_same_reason(held):
    assert held.find("r000").held_reasons == ["matches half the corpus"]
    assert "matches half the corpus" in held.history("r000")[-1].why
    batch = open_batch(held)
    for _ in range(2):
        held.approve("r000", "Ada")
        held.hold(batch.batch_id, {"r000": ["matches half the corpus"]}, "run")  # told again by a run that was killed
    held.finish_batch(batch.batch_id, False, "run")
    again = open_batch(held)
    assert (ids(again), again.approved) == (["r000"], {"r000": ["matches half the corpus"]})
    held.hold(again.batch_id, {"r000": ["too short"]}, "run")
    held.approve("r000", "Ada")
    assert held.find("r000").approvals == ["matches half the corpus", "too short"]
    assert held.find("r000").held_reasons == []


def test_a_refused_request_can_be_reopened(held):
    for _ in range(2):
        held.refuse("r000", "Ada", "not a person")
    assert held.history("r000")[-1].why == "refused: not a person"
    assert states(held)["r000"] == "rejected"
    held.reopen("r000", "Bob", "it is one")
    assert states(held)["r000"] == "validated"
    with pytest.raises(InputError, match="r000 is validated; this is for requests that are held"):
        held.refuse("r000", "Ada", "not a person")


def test_a_watched_request_closed_by_a_person_starts_anew_when_reopened(ledger):
    take(ledger, *numbered_requests(1))
    batch = open_batch(ledger)
    ledger.watch(batch.batch_id, ["r000"], CORPUS, "run")
    for _ in range(2):
        ledger.close("r000", "Ada", "an id of another company")
    assert states(ledger) == {"r000": "not_found"}
    assert open_batch(ledger, corpus=LATER_CORPUS) is None
    ledger.reopen("r000", "Ada", "it is ours")
    assert ledger.find("r000").watched_since is None
    assert ids(open_batch(ledger)) == ["r000"]


def test_a_fulfilled_request_can_be_reopened_and_a_purged_one_cannot(ledger):
    take(ledger, *numbered_requests(2))
    promote(ledger)
    ledger.fulfil({"r000": "c" * 64, "r001": "d" * 64}, "run", "Ada")
    ledger.reopen("r000", "Ada", "more of theirs came to light")
    assert ledger.find("r000").certificate_sha256 is None
    ledger.purge(["r001"], "run")
    for call in (lambda: ledger.reopen("r001", "Ada", "why"), lambda: ledger.withdraw("r001", "Ada")):
        with pytest.raises(InputError, match=r"file it anew|cannot be undone"):
            call()
    assert states(ledger) == {"r000": "validated", "r001": "purged"}


def test_a_failed_request_waits_again_when_retried(ledger):
    take(ledger, *numbered_requests(1))
    ledger.finish_batch(open_batch(ledger).batch_id, False, "run")
    for _ in range(2):
        ledger.retry("r000", "Ada")
    assert [move.to_state for move in ledger.history("r000")][-2:] == ["failed", "validated"]
    assert ids(open_batch(ledger)) == ["r000"]
    with pytest.raises(InputError, match="r000 is batched; this is for requests that are failed or escalated"):
        ledger.retry("r000", "Ada")


@pytest.mark.parametrize("decide", ["approve", "refuse", "withdraw", "reopen", "retry", "close"])
def test_unknown_requests_are_said_to_be_unknown(ledger, decide):
    arguments = ["Ada", "why"] if decide in ("refuse", "reopen", "close") else ["Ada"]
    with pytest.raises(InputError, match="there is no request nobody; `unilogit requests list`"):
        getattr(ledger, decide)("nobody", *arguments)


def test_what_somebody_else_decided_is_not_taken_for_ones_own(ledger):
    take(ledger, *numbered_requests(1))
    ledger.withdraw("r000", "Ada")
    with pytest.raises(InputError, match="r000 is withdrawn; this is for requests that are validated or"):
        ledger.withdraw("r000", "Bob")
