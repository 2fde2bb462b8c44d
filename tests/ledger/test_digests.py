"""How a request is known again: by digests that databases hold already, each made once."""

import json
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.lives import make_request, run_sql, take
from unilogit.data.requests import DeletionRequest
from unilogit.files import sha256_json
from unilogit.ledger import Receipt
from unilogit.ledger.intake import _utc_texts
from unilogit.ledger.tables import utc_text

BARE = {"request_id": "r1", "received_at": "2026-03-01T12:00:00.000123+02:00", "subject_id": "Zoë"}
FULL = {
    **BARE,
    "record_ids": ["b", "a"],
    "text": 'Zoë said "\x1f\x7f\u2028\\" 😀\n',
    "legal_basis": "GDPR Art. 17(1)(b)",
    "due_at": "2026-03-05T00:00:00Z",
    "source": "web form",
}
STORED = [  # what the first version of the ledger wrote
    (
        BARE,
        '{"request_id":"r1","received_at":"2026-03-01T10:00:00.000123Z","subject_id":"Zoë","record_ids":[],'
        '"text":null,"legal_basis":null,"due_at":"2026-03-31T10:00:00.000123Z","source":null,"file":"a.jsonl","row":7}',
        "b0ec1018712da3db60ddddc9fe27d04f1ab58fa557ff4f69e003a61bda441d01",
    ),
    (
        FULL,
        '{"request_id":"r1","received_at":"2026-03-01T10:00:00.000123Z","subject_id":"Zoë","record_ids":["b","a"],'
        '"text":"Zoë said \\"\\u001f\x7f\u2028\\\\\\" 😀\\n","legal_basis":"GDPR Art. 17(1)(b)",'
        '"due_at":"2026-03-05T00:00:00Z","source":"web form","file":"a.jsonl","row":7}',
        "68c953cf731e1f6a732940aacba5437954b31b115babba8734419de7ecce4927",
    ),
]


@pytest.mark.parametrize(("fields", "content", "sha256"), STORED)
def test_content_and_digest_are_stored_as_ever(ledger, location, fields, content, sha256):
    take(ledger, DeletionRequest(**fields, file="a.jsonl", row=7))
    [(stored, stored_sha256)] = run_sql(location, "SELECT content, content_sha256 FROM ledger_requests")
    assert {**json.loads(content), "aliases": [], "reference": ""} == json.loads(stored)
    assert stored_sha256 == sha256


@pytest.mark.parametrize(("fields", "content", "sha256"), STORED)
def test_a_request_stored_by_the_first_version_is_known_again(ledger, location, fields, content, sha256):
    take(ledger, make_request("r1"))
    quoted = content.replace("'", "''").replace("%", "%%")
    run_sql(location, f"UPDATE ledger_requests SET content = '{quoted}', content_sha256 = '{sha256}'")
    assert ledger.get("r1") == DeletionRequest(**fields, reference="r1", file="a.jsonl", row=7)
    again = DeletionRequest(**fields, file="b.jsonl", row=1)
    assert take(ledger, again, word="again") == Receipt("again.jsonl", 0, 1, 0)
    conflict = DeletionRequest(**fields | {"legal_basis": "another"})
    assert take(ledger, conflict, word="more") == Receipt("more.jsonl", 0, 0, 1)


def test_a_digest_is_made_once_and_changes_nothing_else():
    request, untouched = make_request("r1"), make_request("r1")
    assert request.content_sha256 is request.content_sha256
    assert request == untouched
    assert repr(request) == repr(untouched)
    assert request.model_dump_json() == untouched.model_dump_json()


@pytest.mark.parametrize("deep", [False, True])
def test_a_changed_copy_has_the_digest_of_its_own_content(deep):
    request = make_request("r1", "Zoë")
    other = make_request("r1", "Yan").content_sha256
    assert request.content_sha256 != other
    assert request.model_copy(update={"subject_id": "Yan"}, deep=deep).content_sha256 == other
    assert request.model_copy(update={"file": "b.jsonl", "row": 9}, deep=deep).content_sha256 == request.content_sha256


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
times = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))


@given(texts, texts, st.lists(texts, max_size=2), times, times)
def test_a_digest_is_that_of_its_fields_in_json(name, text, aliases, received_at, due_at):
    asked = {"request_id": name, "subject_id": None, "record_ids": [name], "text": text, "legal_basis": text}
    asked |= {"aliases": aliases} if aliases else {}
    request = DeletionRequest.model_construct(
        **{"aliases": [], **asked}, received_at=received_at, due_at=due_at, source=None
    )
    written = {
        key: time.isoformat().replace("+00:00", "Z") for key, time in (("received_at", received_at), ("due_at", due_at))
    }
    assert request.content_sha256 == sha256_json({**asked, **written, "source": None})


@given(times, times)
def test_times_are_stored_as_they_are_compared(received_at, due_at):
    assert _utc_texts([received_at, due_at]) == [utc_text(received_at), utc_text(due_at)]


def test_a_request_that_was_kept_is_as_it_was():
    request = DeletionRequest(**FULL, file="a.jsonl", row=7)
    fields = {name: getattr(request, name) for name in DeletionRequest.model_fields}
    kept = DeletionRequest.kept(request.content_sha256, **fields)
    assert kept == request
    assert kept.content_sha256 == request.content_sha256
    assert kept.model_dump_json() == request.model_dump_json()
    assert pickle.loads(pickle.dumps(kept)) == kept.model_copy(deep=True) == request
    assert kept.model_copy(update={"text": "other"}).content_sha256 != request.content_sha256
