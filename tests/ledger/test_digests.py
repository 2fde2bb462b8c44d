"""How a request is known again: by digests that databases hold already, each made once."""

import json

import pytest

from tests.ledger.lives import make_request, run_sql, take
from unilogit.data.requests import DeletionRequest
from unilogit.ledger import Receipt

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
