"""The ledger: repeats and conflicts, what a batch takes, and its life told once, twice or wrongly."""

import stat
from datetime import UTC, datetime, timedelta

import pytest

from tests.ledger.lives import NOON, digest, ids, make_request, numbered_requests, states, take
from unilogit.data.requests import Rejection
from unilogit.errors import InputError
from unilogit.ledger import IllegalMove, Ledger, Receipt


def test_what_is_taken_in_comes_back(ledger, path):
    sent = make_request("r1", "Zoë", days=3, received=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), row=7)
    rejection = Rejection(file="file.jsonl", row=9, reasons=["is not JSON"], raw="{Zoë")
    receipt = ledger.receive("file.jsonl", digest("file"), [sent], [rejection], "run-1")
    assert receipt == Receipt("file.jsonl", new=1, repeated=0, rejected=1)
    assert str(receipt) == "file.jsonl: 1 new, 0 taken in before, 1 rejected"
    assert ledger.get("r1") == sent
    assert ledger.get("r2") is None
    (row,) = ledger.requests("validated")
    assert (row.request_id, row.received_at, row.due_at) == ("r1", sent.received_at, sent.due_at)
    assert (row.batch_id, row.origin) == (None, "a.jsonl:7")
    assert ledger.requests("failed") == []
    (row,) = ledger.rejections()
    assert (row.file, row.row, row.reasons) == ("file.jsonl", 9, ["is not JSON"])
    assert abs(datetime.now(UTC) - row.at) < timedelta(minutes=1)
    assert {state: count for state, count in ledger.counts().items() if count} == {
        "validated": 1,
        "rejected": 1,
    }
    moves = [(move.from_state, move.to_state, move.run) for move in ledger.history("r1")]
    assert moves == [(None, "received", "run-1"), ("received", "validated", "run-1")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_file_or_request_again_stores_nothing(ledger):
    assert not ledger.knows_file(digest("file"))
    take(ledger, *numbered_requests(3))
    assert ledger.knows_file(digest("file"))
    rejection = Rejection(file="file.jsonl", row=9, reasons=["is not JSON"], raw="")
    moves = ledger.verify_audit()
    receipt = ledger.receive("copy.jsonl", digest("file"), numbered_requests(3), [rejection], "run-2")
    assert receipt == Receipt("copy.jsonl", new=0, repeated=3, rejected=0)
    moved = make_request("r000", file="b.jsonl", row=40)  # the same request from another place
    receipt = take(ledger, moved, *numbered_requests(4), *numbered_requests(4), word="more")
    assert receipt == Receipt("more.jsonl", new=1, repeated=8, rejected=0)
    assert ledger.verify_audit() == moves + 2
    assert len(ledger.requests()) == 4
    assert ledger.rejections() == []


def test_an_id_with_other_content_is_refused_and_says_where_the_first_is(ledger):
    take(ledger, make_request("r1", "Zoë", row=5))
    receipt = take(
        ledger,
        make_request("r1", "Yan", row=2, file="b.jsonl"),
        make_request("r2", "Zoë", row=3, file="b.jsonl"),
        make_request("r2", "Yan", row=4, file="b.jsonl"),
        word="more",
    )
    assert receipt == Receipt("more.jsonl", new=1, repeated=0, rejected=2)
    assert [(row.file, row.row, row.reasons) for row in ledger.rejections()] == [
        (
            "b.jsonl",
            line,
            [f"request_id {name} was taken in before with other content ({origin}); give it an id of its own"],
        )
        for line, name, origin in [(2, "r1", "a.jsonl:5"), (4, "r2", "b.jsonl:3")]
    ]
    assert ledger.get("r1").subject_id == ledger.get("r2").subject_id == "Zoë"


def test_more_requests_than_a_query_has_parameters(ledger):
    requests = numbered_requests(2500)
    assert take(ledger, *requests).new == 2500
    assert take(ledger, *requests, *numbered_requests(1, start=2500), word="more") == Receipt("more.jsonl", 1, 2500, 0)


def test_a_batch_takes_the_most_urgent_up_to_its_cap(ledger):
    take(
        ledger,
        make_request("late", days=20),
        make_request("b", days=2),
        make_request("a", days=2),
        make_request("earlier", days=3, received=NOON - timedelta(days=1)),
        make_request("soon", days=1),
    )
    batch = ledger.open_batch(4, "run")
    assert ids(batch) == ["soon", "earlier", "a", "b"]
    assert not batch.resumed
    stamp = datetime.strptime(batch.batch_id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - stamp) < timedelta(minutes=1)
    assert states(ledger)["late"] == "validated"
    assert ledger.requests("batched")[0].batch_id == batch.batch_id


@pytest.mark.parametrize("cap", [0, -1])
def test_a_cap_must_be_positive(ledger, cap):
    with pytest.raises(InputError, match="make the cap 1 or more"):
        ledger.open_batch(cap, "run")


def test_an_open_batch_is_resumed_with_the_same_requests(path):
    with Ledger(path) as ledger:
        take(ledger, *numbered_requests(5))
        batch = ledger.open_batch(3, "run-1")
    with Ledger(path) as ledger:
        take(ledger, make_request("urgent", days=0), word="more")
        resumed = ledger.open_batch(10, "run-2", retry_failed=True)
        assert (resumed.batch_id, resumed.requests, resumed.resumed) == (batch.batch_id, batch.requests, True)
        ledger.no_match(batch.batch_id, ["r001"], "run-2")
        ledger.unlearned(batch.batch_id, "run-2")
    with Ledger(path) as ledger:
        assert ids(ledger.open_batch(3, "run-3")) == ["r000", "r002"]
        ledger.finish_batch(batch.batch_id, True, "run-3")
        assert ids(ledger.open_batch(3, "run-3")) == ["urgent", "r003", "r004"]


def test_the_life_of_a_batch_can_be_told_twice(ledger):
    take(ledger, *numbered_requests(3))
    batch = ledger.open_batch(3, "run")
    rows = []
    for _ in range(2):
        ledger.no_match(batch.batch_id, ["r001", "r001"], "run")
        rows.append(ledger.verify_audit())
    for _ in range(2):
        ledger.unlearned(batch.batch_id, "run")
        rows.append(ledger.verify_audit())
    for verdict in (True, True, None):
        ledger.finish_batch(batch.batch_id, verdict, "run", why="all gates passed")
        rows.append(ledger.verify_audit())
    assert rows == [10, 10, 12, 12, 14, 14, 14]
    assert states(ledger) == {"r000": "awaiting_promotion", "r001": "no_match", "r002": "awaiting_promotion"}
    assert ledger.history("r000")[-1].why == f"batch {batch.batch_id}: all gates passed"
    assert ledger.open_batch(3, "run") is None
    with pytest.raises(IllegalMove, match="another verdict"):
        ledger.finish_batch(batch.batch_id, False, "run")
    ledger.no_match(batch.batch_id, ["r001"], "run")
    ledger.unlearned(batch.batch_id, "run")
    assert ledger.verify_audit() == 14


def test_a_batch_without_any_match_closes_by_itself_or_by_none(ledger):
    take(ledger, *numbered_requests(3))
    for name in ("r000", "r001"):
        batch = ledger.open_batch(1, "run")
        assert ids(batch) == [name]
        with pytest.raises(IllegalMove, match="still has 1 requests in work"):
            ledger.finish_batch(batch.batch_id, None, "run")
        ledger.no_match(batch.batch_id, [name], "run")
        if name == "r000":
            ledger.finish_batch(batch.batch_id, None, "run")
    assert ids(ledger.open_batch(1, "run")) == ["r002"]


def test_moves_that_are_not_legal_change_nothing(ledger):
    take(ledger, *numbered_requests(2), make_request("r9", days=90))
    batch = ledger.open_batch(2, "run")
    unchanged = states(ledger)
    with pytest.raises(IllegalMove, match="r000 cannot go from batched to awaiting_promotion"):
        ledger.finish_batch(batch.batch_id, True, "run")
    with pytest.raises(IllegalMove, match="does not hold request r9"):
        ledger.no_match(batch.batch_id, ["r000", "r9"], "run")
    assert (states(ledger), ledger.verify_audit()) == (unchanged, 8)
    ledger.unlearned(batch.batch_id, "run")
    with pytest.raises(IllegalMove, match="r001 cannot go from unlearned to no_match"):
        ledger.no_match(batch.batch_id, ["r001"], "run")
    assert ledger.verify_audit() == 10


def test_failed_requests_are_retried_first_and_only_when_asked(ledger):
    take(ledger, *numbered_requests(2))
    failed = ledger.open_batch(2, "run")
    ledger.finish_batch(failed.batch_id, False, "run", why="gate forget failed")
    take(ledger, make_request("urgent", days=0), word="more")
    assert ids(ledger.open_batch(9, "run")) == ["urgent"]
    ledger.finish_batch(ledger.open_batch(9, "run").batch_id, False, "run")
    assert ledger.open_batch(9, "run") is None
    take(ledger, make_request("later", days=90), make_request("now", days=0), word="third")
    retry = ledger.open_batch(4, "run", retry_failed=True)
    assert ids(retry) == ["urgent", "r000", "r001", "now"]
    ledger.finish_batch(failed.batch_id, False, "run")  # a repeat of old news leaves the new batch alone
    assert states(ledger)["r000"] == "batched"
    assert {row.batch_id for row in ledger.requests("batched")} == {retry.batch_id}


def test_earlier_requests_are_all_whose_forgetting_must_last(ledger):
    take(ledger, *numbered_requests(4))
    passed = ledger.open_batch(1, "run")
    ledger.unlearned(passed.batch_id, "run")
    ledger.finish_batch(passed.batch_id, True, "run")
    ledger.finish_batch(ledger.open_batch(1, "run").batch_id, False, "run")
    unmatched = ledger.open_batch(1, "run")
    ledger.no_match(unmatched.batch_id, ["r002"], "run")
    current = ledger.open_batch(1, "run")
    take(ledger, make_request("waiting"), word="more")
    assert ledger.earlier_requests(current.batch_id) == numbered_requests(2)  # not no_match, itself, or what waits
    retry_of_failed = [item.request_id for item in ledger.earlier_requests(passed.batch_id)]
    assert retry_of_failed == ["r001"]


def test_unknown_names_are_said_to_be_unknown(ledger):
    with pytest.raises(InputError, match="unilogit requests list"):
        ledger.history("nobody")
    with pytest.raises(InputError, match="there is no state lost; choose one of received, validated"):
        ledger.requests("lost")
    for call in (ledger.unlearned, lambda name, run: ledger.finish_batch(name, True, run)):
        with pytest.raises(InputError, match="there is no batch b"):
            call("b", "run")
    with pytest.raises(InputError, match="there is no batch b"):
        ledger.earlier_requests("b")
