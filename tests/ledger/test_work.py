"""Batches: what one takes, and its life told once, twice or wrongly."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.ledger.lives import (
    CORPUS,
    LATER_CORPUS,
    NOON,
    ids,
    make_request,
    numbered_requests,
    open_batch,
    promoted_batch,
    states,
    take,
)
from unilogit.errors import InputError
from unilogit.ledger import IllegalMove, Ledger


def test_a_batch_takes_the_most_urgent_up_to_its_cap(ledger):
    take(
        ledger,
        make_request("late", days=20),
        make_request("b", days=2),
        make_request("a", days=2),
        make_request("earlier", days=3, received=NOON - timedelta(days=1)),
        make_request("soon", days=1),
    )
    batch = open_batch(ledger, 4)
    assert ids(batch) == batch.in_work == ["soon", "earlier", "a", "b"]
    assert (batch.resumed, batch.attempts, batch.withdrawn, batch.approved) == (False, 1, [], {})
    stamp = datetime.strptime(batch.batch_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - stamp) < timedelta(minutes=1)
    assert states(ledger)["late"] == "validated"
    assert next(ledger.requests("batched")).batch_id == batch.batch_id


@pytest.mark.parametrize("number", [0, -1])
def test_caps_and_attempts_must_be_positive(ledger, number):
    with pytest.raises(InputError, match="make the cap 1 or more"):
        open_batch(ledger, number)
    with pytest.raises(InputError, match="make it 1 or more"):
        open_batch(ledger, attempts=number)


def test_a_batch_taken_up_again_has_all_that_it_was_taken_with(location):
    with Ledger(location) as ledger:
        take(ledger, *numbered_requests(6))
        batch = open_batch(ledger, 4)
    with Ledger(location) as ledger:
        take(ledger, make_request("urgent", days=0), word="more")
        resumed = open_batch(ledger, 10, retry_failed=True)
        assert (resumed.batch_id, resumed.requests, resumed.resumed) == (batch.batch_id, batch.requests, True)
        ledger.watch(batch.batch_id, ["r001"], CORPUS, "run-2")
        ledger.hold(batch.batch_id, {"r002": ["matches half the corpus"]}, "run-2")
        ledger.unlearned(batch.batch_id, "run-2")
    with Ledger(location) as ledger:
        resumed = open_batch(ledger)
        assert (resumed.requests, resumed.in_work, resumed.attempts) == (batch.requests, ["r000", "r003"], 3)
        ledger.finish_batch(batch.batch_id, True, "run-3")
        assert ids(open_batch(ledger, 3)) == ["urgent", "r004", "r005"]


def test_an_attempt_that_something_temporary_ended_does_not_count(ledger):
    take(ledger, *numbered_requests(1))
    first = open_batch(ledger, attempts=2)
    for _ in range(3):
        ledger.spare_attempt(first.batch_id)
        again = open_batch(ledger, attempts=2)
        assert (again.batch_id, again.attempts, again.resumed) == (first.batch_id, 2, True)
    assert open_batch(ledger, attempts=2) is None
    ledger.spare_attempt(first.batch_id)  # it has ended: nothing changes
    assert states(ledger) == {"r000": "failed"}


def test_a_batch_taken_up_too_often_has_failed(ledger):
    take(ledger, *numbered_requests(3))
    first = open_batch(ledger, 2)
    assert open_batch(ledger, 2, attempts=2).batch_id == first.batch_id
    second = open_batch(ledger, 2, attempts=2)
    assert (ids(second), second.attempts) == (["r002"], 1)
    assert states(ledger) == {"r000": "failed", "r001": "failed", "r002": "batched"}
    assert ledger.history("r000")[-1].why == f"batch {first.batch_id}: taken up 2 times without an end"
    assert [(batch.attempts, batch.passed) for batch in ledger.batches()] == [(2, False), (1, None)]


def test_the_life_of_a_batch_can_be_told_twice(ledger):
    take(ledger, *numbered_requests(4))
    batch = open_batch(ledger)
    rows = []

    def twice(call, *arguments):
        for _ in range(2):
            call(batch.batch_id, *arguments)
            rows.append(ledger.verify_audit())

    twice(ledger.watch, ["r001", "r001"], CORPUS, "run")
    twice(ledger.hold, {"r003": ["too short"]}, "run")
    twice(ledger.begin_training, "run")
    twice(ledger.unlearned, "run")
    twice(ledger.finish_batch, True, "run", "all gates passed")
    twice(ledger.finish_batch, None, "run")
    assert rows == [13, 13, 14, 14, 16, 16, 18, 18, 20, 20, 20, 20]
    assert states(ledger) == {
        "r000": "awaiting_promotion",
        "r001": "watched",
        "r002": "awaiting_promotion",
        "r003": "held",
    }
    assert ledger.history("r000")[-1].why == f"batch {batch.batch_id}: all gates passed"
    assert open_batch(ledger) is None
    with pytest.raises(IllegalMove, match="another verdict"):
        ledger.finish_batch(batch.batch_id, False, "run")
    ledger.watch(batch.batch_id, ["r001"], CORPUS, "run")
    ledger.unlearned(batch.batch_id, "run")
    assert ledger.verify_audit() == 20


def test_watched_requests_are_looked_for_in_every_other_corpus(ledger):
    take(ledger, make_request("lost", days=1), make_request("other", days=90))
    first = open_batch(ledger, 1)
    ledger.watch(first.batch_id, ["lost"], CORPUS, "run")
    since = ledger.find("lost").watched_since
    assert abs(datetime.now(UTC) - since) < timedelta(minutes=1)
    second = open_batch(ledger)  # the same corpus: nothing new to look for
    assert ids(second) == ["other"]
    ledger.finish_batch(second.batch_id, False, "run")
    third = open_batch(ledger, corpus=LATER_CORPUS)
    assert ids(third) == ["lost"]
    ledger.watch(third.batch_id, ["lost"], LATER_CORPUS, "run")
    row = ledger.find("lost")
    assert (row.watched_since, row.searched_corpus) == (since, LATER_CORPUS)
    assert row.searched_at > since
    assert open_batch(ledger, corpus=LATER_CORPUS) is None


def test_many_watched_requests_keep_no_new_one_waiting(ledger):
    take(ledger, *numbered_requests(4))
    batch = open_batch(ledger)
    ledger.watch(batch.batch_id, ["r001", "r003"], CORPUS, "run")
    ledger.watch(batch.batch_id, ["r000", "r002"], CORPUS, "run")
    take(ledger, make_request("new", days=90), word="more")
    batch = open_batch(ledger, 3, corpus=LATER_CORPUS)
    assert set(ids(batch)) == {"new", "r001", "r003"}  # then those that were not looked for the longest


def test_a_batch_without_any_match_closes_by_itself_or_by_none(ledger):
    take(ledger, *numbered_requests(3))
    for name in ("r000", "r001"):
        batch = open_batch(ledger, 1)
        assert ids(batch) == [name]
        with pytest.raises(IllegalMove, match="still has 1 requests in work"):
            ledger.finish_batch(batch.batch_id, None, "run")
        ledger.watch(batch.batch_id, [name], CORPUS, "run")
        if name == "r000":
            ledger.finish_batch(batch.batch_id, None, "run")
    assert ids(open_batch(ledger, 1)) == ["r002"]


def test_moves_that_are_not_legal_change_nothing(ledger):
    take(ledger, *numbered_requests(2), make_request("r9", days=90))
    batch = open_batch(ledger, 2)
    unchanged = states(ledger)
    with pytest.raises(IllegalMove, match="r000 cannot go from batched to awaiting_promotion"):
        ledger.finish_batch(batch.batch_id, True, "run")
    for tell in (
        lambda names: ledger.watch(batch.batch_id, names, CORPUS, "run"),
        lambda names: ledger.hold(batch.batch_id, {name: ["reason"] for name in names}, "run"),
    ):
        with pytest.raises(IllegalMove, match="does not hold request r9"):
            tell(["r000", "r9"])
    assert (states(ledger), ledger.verify_audit()) == (unchanged, 8)
    ledger.unlearned(batch.batch_id, "run")
    with pytest.raises(IllegalMove, match="r001 cannot go from unlearned to watched"):
        ledger.watch(batch.batch_id, ["r001"], CORPUS, "run")
    with pytest.raises(IllegalMove, match="cannot be put back"):
        ledger.put_back(batch.batch_id, "run", "no corpus")
    assert ledger.verify_audit() == 10


def test_a_batch_put_back_waits_as_before(ledger):
    take(ledger, *numbered_requests(3))
    batch = open_batch(ledger)
    ledger.watch(batch.batch_id, ["r001"], CORPUS, "run")
    ledger.begin_training(batch.batch_id, "run")
    for _ in range(2):
        ledger.put_back(batch.batch_id, "run", "the corpus cannot be read")
    assert states(ledger) == {"r000": "validated", "r001": "watched", "r002": "validated"}
    assert ledger.history("r002")[-1].why == f"batch {batch.batch_id} put back: the corpus cannot be read"
    again = open_batch(ledger)
    assert (ids(again), again.resumed) == (["r000", "r002"], False)
    ledger.put_back(batch.batch_id, "run", "a repeat of old news leaves the new batch alone")
    assert ids(open_batch(ledger)) == ["r000", "r002"]


def test_a_version_given_up_lets_its_requests_wait_again(ledger):
    take(ledger, *numbered_requests(3))
    batch_id = promoted_batch(ledger, 2)
    ledger.fulfil({"r000": "c" * 64}, "run", "Ada")
    for _ in range(2):
        ledger.give_up(batch_id, "run", "its gates failed")
    assert states(ledger) == dict.fromkeys(["r000", "r001", "r002"], "validated")
    assert ledger.find("r000").certificate_sha256 is None
    batch = open_batch(ledger)
    assert ids(batch) == ["r000", "r001", "r002"]
    ledger.unlearned(batch.batch_id, "run")
    ledger.give_up(batch.batch_id, "run", "the run was stopped")
    again = open_batch(ledger)
    assert (ids(again), again.resumed) == (ids(batch), False)


def test_failed_requests_are_retried_first_and_only_when_asked(ledger):
    take(ledger, *numbered_requests(2))
    failed = open_batch(ledger, 2)
    ledger.finish_batch(failed.batch_id, False, "run", why="gate forget failed")
    take(ledger, make_request("urgent", days=0), word="more")
    assert ids(open_batch(ledger)) == ["urgent"]
    ledger.finish_batch(open_batch(ledger).batch_id, False, "run")
    assert open_batch(ledger) is None
    take(ledger, make_request("later", days=90), make_request("now", days=0), word="third")
    retry = open_batch(ledger, 4, retry_failed=True)
    assert set(ids(retry)) == {"urgent", "r000", "r001", "now"}
    ledger.finish_batch(failed.batch_id, False, "run")  # a repeat of old news leaves the new batch alone
    assert states(ledger)["r000"] == "batched"
    assert {row.batch_id for row in ledger.requests("batched")} == {retry.batch_id}


def test_earlier_requests_are_all_whose_forgetting_must_last(ledger):
    take(ledger, *numbered_requests(4))
    passed = promoted_batch(ledger, 1)
    ledger.finish_batch(open_batch(ledger, 1).batch_id, False, "run")
    unmatched = open_batch(ledger, 1)
    ledger.watch(unmatched.batch_id, ["r002"], CORPUS, "run")
    current = open_batch(ledger, 1)
    take(ledger, make_request("waiting"), word="more")
    assert ledger.earlier_requests(current.batch_id) == numbered_requests(2)  # not watched, itself, or what waits
    assert [item.reference for item in ledger.earlier_requests(passed)] == ["r001"]


def test_unknown_batches_are_said_to_be_unknown(ledger):
    for call in (
        ledger.unlearned,
        ledger.begin_training,
        lambda name, run: ledger.finish_batch(name, True, run),
        lambda name, run: ledger.watch(name, [], CORPUS, run),
        lambda name, run: ledger.hold(name, {}, run),
        lambda name, run: ledger.put_back(name, run, "why"),
        lambda name, run: ledger.give_up(name, run, "why"),
        lambda name, _: ledger.earlier_requests(name),
    ):
        with pytest.raises(InputError, match="there is no batch b"):
            call("b", "run")
