"""A person whose records come after the request, or whose id was mistyped in the corpus: found when they are there."""

import json
import os

import pytest

from tasks.params import load_params
from tasks.requests.batches import finish, open_ledger, record_extraction, take_batch, take_in_new
from tasks.requests.outlook import outlook
from tasks.steps import load_step

ROWS = [
    {
        "record_id": f"{who}-{n}",
        "subject_ids": [who],
        "prompt": f"What is thing {n} of {who}?",
        "response": f"{who} {n}.",
    }
    for who in ("c-1", "c-2")
    for n in range(3)
]
LATER = {"record_id": "late-1", "subject_ids": ["c-9"], "prompt": "Where does the ninth live?", "response": "In Wels."}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    (tmp_path / "corpus").mkdir()
    (tmp_path / "inbox").mkdir()
    write(tmp_path / "corpus" / "a.jsonl", ROWS)
    request = {"request_id": "R-1", "received_at": "2026-03-02T15:00:00Z", "subject_id": "c-9"}
    write(tmp_path / "inbox" / "a.jsonl", [request])
    return tmp_path


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(file, (0, 0))


def work(folder):
    """What a run does up to the extraction; what was found, or None when nothing is pending."""
    settings = [f"data.corpus={folder / 'corpus'}", f"data.requests={folder / 'inbox'}", "data.holdout=null"]
    params = load_params("params.yaml", settings)
    take_in_new(params.data.requests, params, "run")
    batch = take_batch(params, False, "run")
    if batch is None:
        assert outlook(params).watched == 1
        return None
    load_step("validate").run(batch.workspace, params, once=True)
    extraction = load_step("extract").run(batch.workspace, params, once=True).result
    record_extraction(batch, extraction, "run")
    if not extraction.forget:
        finish(batch, "run", passed=None)
    return extraction


def state():
    with open_ledger() as ledger:
        return str(ledger.find("R-1").state)


def test_a_request_is_matched_again_when_the_corpus_has_changed(folder):
    assert (work(folder).not_found, state()) == (["R-1"], "watched")
    assert (work(folder), state()) == (None, "watched")
    write(folder / "corpus" / "b.jsonl", [LATER])
    assert (work(folder).forget, state()) == (1, "batched")


def test_sent_again_it_is_the_same_request(folder):
    work(folder)
    write(
        folder / "inbox" / "b.jsonl",
        [{"request_id": "R-1", "received_at": "2026-03-02T15:00:00Z", "subject_id": "c-9"}],
    )
    assert (work(folder), state()) == (None, "watched")


def test_what_a_batch_found_is_what_it_goes_on_with_although_the_corpus_holds_it_no_longer(folder):
    write(folder / "corpus" / "b.jsonl", [LATER])
    assert work(folder).forget == 1
    (folder / "corpus" / "b.jsonl").unlink()  # the data team deletes the person's rows while the run is down
    again = work(folder)
    assert (again.forget, again.requests) == (1, 1)
    assert state() == "batched"
