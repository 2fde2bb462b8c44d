"""Taking requests in: each once, repeats counted, conflicts refused, any number of them."""

import stat
from datetime import UTC, datetime, timedelta

import pytest

from tests.ledger.lives import CORPUS, digest, make_request, numbered_requests, open_batch, promoted_batch, take
from unilogit.data.requests import Rejection
from unilogit.ledger import Ledger, Receipt, audit


def test_what_is_taken_in_comes_back(ledger):
    sent = make_request("r1", "Zoë", days=3, received=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), row=7)
    rejection = Rejection(file="file.jsonl", row=9, reasons=["is not JSON"], raw="{Zoë")
    receipt = ledger.receive("file.jsonl", digest("file"), iter([sent]), iter([rejection]), "run-1")
    assert receipt == Receipt("file.jsonl", new=1, repeated=0, rejected=1)
    assert str(receipt) == "file.jsonl: 1 new, 0 taken in before, 1 rejected"
    assert ledger.get("r1") == sent
    (row,) = ledger.requests("validated")
    assert (row.request_id, row.received_at, row.due_at) == ("r1", sent.received_at, sent.due_at)
    assert (row.batch_id, row.origin, row.content_sha256) == (None, "a.jsonl:7", sent.content_sha256)
    (row,) = ledger.rejections()
    assert (row.file, row.row, row.reasons) == ("file.jsonl", 9, ["is not JSON"])
    assert abs(datetime.now(UTC) - row.at) < timedelta(minutes=1)
    assert {state: count for state, count in ledger.counts().items() if count} == {"validated": 1, "rejected": 1}
    moves = [(move.from_state, move.to_state, move.run) for move in ledger.history("r1")]
    assert moves == [(None, "received", "run-1"), ("received", "validated", "run-1")]


def test_the_file_of_the_ledger_is_for_its_owners_eyes(path):
    with Ledger(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_file_or_request_again_stores_nothing(ledger):
    assert not ledger.knows_file(digest("file"))
    take(ledger, *numbered_requests(3))
    assert ledger.knows_file(digest("file"))
    rejection = Rejection(file="file.jsonl", row=9, reasons=["is not JSON"], raw="")
    moves = ledger.verify_audit()
    receipt = ledger.receive("copy.jsonl", digest("file"), iter(numbered_requests(3)), iter([rejection]), "run-2")
    assert receipt == Receipt("copy.jsonl", new=0, repeated=3, rejected=0)
    moved = make_request("r000", file="b.jsonl", row=40)  # the same request from another place
    receipt = take(ledger, moved, *numbered_requests(4), *numbered_requests(4), word="more")
    assert receipt == Receipt("more.jsonl", new=1, repeated=8, rejected=0)
    assert ledger.verify_audit() == moves + 2
    assert len(list(ledger.requests())) == 4
    assert list(ledger.rejections()) == []


@pytest.mark.parametrize("chunk", [1, 2, 5000])
def test_an_id_with_other_content_is_refused_and_says_where_the_first_is(ledger, monkeypatch, chunk):
    monkeypatch.setattr(audit.chunks, "__defaults__", (chunk,))
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
            [f"request {name} was taken in before with other content ({origin}); give it a request_id of its own"],
        )
        for line, name, origin in [(2, "r1", "a.jsonl:5"), (4, "r2", "b.jsonl:3")]
    ]
    assert ledger.get("r1").subject_id == ledger.get("r2").subject_id == "Zoë"


def test_a_personal_id_is_known_by_its_reference_and_by_itself(ledger):
    take(ledger, make_request("zoe@example.org", "Zoë", reference="request-0815"))
    assert ledger.find("zoe@example.org") == ledger.find("request-0815")
    assert ledger.get("zoe@example.org").reference == "request-0815"
    assert {move.reference for move in ledger.history("zoe@example.org")} == {"request-0815"}
    # Under another key the reference is another, and what does not look personal has none.
    again = [make_request("zoe@example.org", "Zoë", reference=name) for name in ("request-4711", "")]
    assert take(ledger, *again, word="again") == Receipt("again.jsonl", 0, 2, 0)
    taken = make_request("request-0815", "Yan")  # what another request is called already
    assert take(ledger, taken, word="taken") == Receipt("taken.jsonl", 0, 0, 1)


def test_what_was_purged_is_known_again_and_said_to_be(ledger):
    sent = make_request("zoe@example.org", "Zoë", reference="request-0815")
    take(ledger, sent)
    promoted_batch(ledger)
    ledger.fulfil({"request-0815": "c" * 64}, "run", "Ada")
    ledger.purge(["request-0815"], "run")
    receipt = take(ledger, sent, make_request("zoe@example.org", "Yan", reference="request-0815"), word="again")
    assert receipt == Receipt("again.jsonl", new=0, repeated=1, rejected=1, purged=1)
    assert "1 taken in before (1 of them since purged: file them anew, with new ids)" in str(receipt)
    assert "since purged" in next(ledger.rejections()).reasons[0]
    assert open_batch(ledger, corpus=CORPUS) is None


def test_more_requests_than_a_chunk_holds(ledger):
    count = audit.CHUNK * 2 + 1
    requests = numbered_requests(count)
    rejections = (Rejection(file="f", row=row, reasons=["bad"], raw="") for row in range(count))
    assert ledger.receive("f", digest("f"), iter(requests), rejections, "run") == Receipt("f", count, 0, count)
    assert take(ledger, *requests, *numbered_requests(1, start=count)) == Receipt("file.jsonl", 1, count, 0)
    assert ledger.verify_audit() == 2 * (count + 1)
    assert sorted(row.reference for row in ledger.requests()) == sorted({row.reference for row in ledger.requests()})
    assert len(list(ledger.requests("validated"))) == count + 1
    assert [row.row for row in ledger.rejections()] == list(range(count))
