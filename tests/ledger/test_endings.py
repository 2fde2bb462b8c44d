"""How requests end, and that what is purged is nowhere any more."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.ledger.lives import (
    CORPUS,
    LATER_CORPUS,
    NOON,
    make_request,
    numbered_requests,
    open_batch,
    promoted_batch,
    run_sql,
    states,
    take,
)
from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError
from unilogit.ledger import IllegalMove, Ledger


def test_what_a_model_in_use_has_unlearned_is_fulfilled(ledger):
    take(ledger, make_request("zoe@example.org", days=1, reference="request-1"), *numbered_requests(2))
    promoted_batch(ledger, 2)
    with pytest.raises(IllegalMove, match="r001 cannot go from validated to fulfilled"):
        ledger.fulfil({"r000": "c" * 64, "r001": "e" * 64}, "run", "Ada")
    for _ in range(2):
        ledger.fulfil({"r000": "c" * 64, "zoe@example.org": "d" * 64}, "run", "Ada")
    assert states(ledger) == {"r000": "fulfilled", "r001": "validated", "request-1": "fulfilled"}
    assert ledger.find("request-1").certificate_sha256 == "d" * 64
    assert ledger.history("r000")[-1].why == f"in use by decision of Ada; certificate {'c' * 64}"
    with pytest.raises(IllegalMove, match="r000 was fulfilled with another certificate"):
        ledger.fulfil({"r000": "e" * 64}, "run", "Ada")


def test_watched_requests_are_closed_after_their_days_and_one_more_look(ledger):
    take(ledger, *numbered_requests(3))
    batch = open_batch(ledger, 2)
    ledger.watch(batch.batch_id, ["r000", "r001"], CORPUS, "run")
    now = datetime.now(UTC)
    assert ledger.close_watched(30, CORPUS, now + timedelta(days=29), "run") == []
    assert ledger.close_watched(30, LATER_CORPUS, now + timedelta(days=31), "run") == []
    second = open_batch(ledger, 2, corpus=LATER_CORPUS)  # r002, which is not watched, and r000
    ledger.watch(second.batch_id, ["r000"], LATER_CORPUS, "run")
    assert ledger.close_watched(30, LATER_CORPUS, now + timedelta(days=31), "run") == ["r000"]
    assert ledger.close_watched(30, LATER_CORPUS, now + timedelta(days=31), "run") == []
    assert states(ledger) == {"r000": "not_found", "r001": "watched", "r002": "batched"}


def personal(name, size, reference):
    words = {"subject_id": "Quux Xyzzy", "text": "Xyzzy said so. " * size}
    sent = {"request_id": name, "received_at": NOON, "reference": reference, "file": "xyzzy.csv", "row": 1, **words}
    return DeletionRequest(**sent)


def stored_text(location):
    """All that the database holds, in bytes."""
    if isinstance(location, Path):
        return b"".join(file.read_bytes() for file in location.parent.iterdir())
    [(directory,)] = run_sql(location, "SHOW data_directory")
    [(file,)] = run_sql(location, "CHECKPOINT", "SELECT pg_relation_filepath('ledger_requests')")
    return b"".join(part.read_bytes() for part in Path(directory, file).parent.glob("*"))


def test_what_is_purged_is_nowhere_any_more(location):
    with Ledger(location) as ledger:
        people = [personal(f"xyzzy-{number}", number, f"request-{number}") for number in range(1, 800, 7)]
        take(ledger, *people, *numbered_requests(50))
        names = [person.reference for person in people]
        assert stored_text(location).lower().count(b"xyzzy") > 1000
        while batch := open_batch(ledger, 30):
            ledger.unlearned(batch.batch_id, "run")
            ledger.finish_batch(batch.batch_id, True, "run")
        ledger.fulfil(dict.fromkeys(names, "c" * 64), "run", "Ada")
        assert sorted(ledger.purge([person.request_id for person in people], "run")) == sorted(names)
        assert b"xyzzy" not in stored_text(location).lower()
        assert ledger.purge(names, "run") == []
        assert {states(ledger)[name] for name in names} == {"purged"}
        row = ledger.find("request-8")
        assert (row.request_id, row.origin, row.certificate_sha256) == ("request-8", "", "c" * 64)
        assert row.content_sha256 == people[1].content_sha256
        assert row.due_at == people[1].due_at
        assert ledger.history("request-8")[-1].why == "what was asked is purged"
        with pytest.raises(InputError, match="request-8: what it asked was purged on 2"):
            ledger.get("request-8")
        ledger.verify_audit()
    with Ledger(location) as ledger:
        assert len(ledger.earlier_requests(ledger.batches()[0].batch_id)) > 0  # of those that still have content


def test_what_ended_otherwise_is_purged_and_keeps_its_state(ledger):
    take(ledger, *numbered_requests(4))
    batch = open_batch(ledger, 3)
    ledger.watch(batch.batch_id, ["r000"], CORPUS, "run")
    ledger.hold(batch.batch_id, {"r001": ["too short"]}, "run")
    ledger.close("r000", "Ada", "of another company")
    ledger.refuse("r001", "Ada", "not a person")
    ledger.withdraw("r003", "Ada")
    assert ledger.purge(["r000", "r001", "r003"], "run") == ["r003"]  # the others' batch is open
    assert len(open_batch(ledger).requests) == 3
    ledger.finish_batch(batch.batch_id, False, "run")
    assert ledger.purge(["r000", "r001", "r003"], "run") == ["r000", "r001"]
    kept = {"r000": "not_found", "r001": "rejected", "r003": "withdrawn"}
    assert states(ledger) == {**kept, "r002": "failed"}
    for name, state in kept.items():
        last = ledger.history(name)[-1]
        assert (last.from_state, last.to_state, last.why) == (state, state, "what was asked is purged")
        with pytest.raises(InputError, match="file it anew"):
            ledger.reopen(name, "Ada", "why")
    with pytest.raises(InputError, match="r002 is failed: only what has ended can be purged"):
        ledger.purge(["r002"], "run")
    ledger.verify_audit()
