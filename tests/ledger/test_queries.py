"""What can be asked of a ledger, and that a long listing is the same as a short one."""

from datetime import timedelta

import pytest

from tests.ledger.lives import NOON, make_request, numbered_requests, open_batch, promoted_batch, take
from unilogit.errors import InputError
from unilogit.ledger import queries


def test_listings_are_the_most_urgent_first_page_by_page(ledger, monkeypatch):
    monkeypatch.setattr(queries, "CHUNK", 3)
    requests = [
        make_request(f"r{number:02}", days=number % 3, received=NOON + timedelta(days=number % 2))
        for number in range(20)
    ]
    take(ledger, *requests)
    expected = [item.reference for item in sorted(requests, key=lambda r: (r.due_at, r.received_at, r.reference))]
    assert [row.reference for row in ledger.requests()] == expected
    for limit in (0, 1, 3, 4, 20, 30):
        assert [row.reference for row in ledger.requests("validated", limit)] == expected[:limit]
    batch = open_batch(ledger, 5)
    assert [row.reference for row in ledger.requests(batches=[batch.batch_id])] == expected[:5]
    assert list(ledger.requests(batches=[])) == []
    ledger.unlearned(batch.batch_id, "run")
    assert [row.reference for row in ledger.requests("validated")] == expected[5:]


def test_the_ledger_can_be_written_while_it_is_listed(ledger, monkeypatch):
    monkeypatch.setattr(queries, "CHUNK", 2)
    take(ledger, *numbered_requests(6))
    seen = []
    for row in ledger.requests("validated"):
        ledger.withdraw(row.reference, "Ada")
        seen.append(row.reference)
    assert seen == [f"r{number:03}" for number in range(6)]


def test_overdue_is_what_waits_and_is_due(ledger):
    take(ledger, *[make_request(f"r{days}", days=days) for days in range(8)])
    promoted_batch(ledger, 2)
    ledger.fulfil({"r0": "c" * 64}, "run", "Ada")
    ledger.withdraw("r3", "Ada")
    ledger.finish_batch(open_batch(ledger, 1).batch_id, False, "run")
    late = ledger.overdue(NOON + timedelta(days=4), margin=timedelta(0))
    assert [(row.reference, row.state) for row in late] == [("r1", "awaiting_promotion"), ("r2", "failed")]
    soon = ledger.overdue(NOON + timedelta(days=4), margin=timedelta(days=2), limit=3)
    assert [row.reference for row in soon] == ["r1", "r2", "r4"]


def test_batches_say_where_their_requests_stand(ledger):
    assert ledger.batches() == []
    take(ledger, *numbered_requests(5))
    first = promoted_batch(ledger, 2)
    ledger.fulfil({"r000": "c" * 64}, "run", "Ada")
    second = open_batch(ledger, 2).batch_id
    closed, current = ledger.batches()
    assert (closed.batch_id, closed.passed, closed.states) == (first, True, {"fulfilled": 1, "awaiting_promotion": 1})
    assert closed.opened_at <= closed.training_at <= closed.finished_at
    assert (current.batch_id, current.states, current.finished_at) == (second, {"batched": 2}, None)


def test_unknown_names_are_said_to_be_unknown(ledger):
    for call in (ledger.find, ledger.get, ledger.history):
        with pytest.raises(InputError, match="there is no request nobody; `unilogit requests list`"):
            call("nobody")
    with pytest.raises(InputError, match="there is no state lost; choose one of received, validated"):
        ledger.requests("lost")
