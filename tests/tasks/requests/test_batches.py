"""Between a real ledger and workspaces: nothing is taken twice, a killed run's batch is taken up again.

Longer than others: every turn that the life of a request can take between two steps.
"""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from tasks.params import load_params
from tasks.requests.batches import (
    begin_training,
    finish,
    new_in,
    one_run_at_a_time,
    open_ledger,
    put_back,
    record_extraction,
    record_unlearned,
    take_batch,
    take_in,
    take_in_new,
)
from tasks.requests.outlook import outlook
from tasks.steps.validate import STEP as VALIDATE
from tasks.workspace import Extraction, Place
from unilogit.errors import AnotherRuns, InputError
from unilogit.files import read_json, write_json

RUN = "run-1"
KILLED_RUN = """
import sys
from tasks.params import load_params
from tasks.requests.batches import one_run_at_a_time, take_batch
with one_run_at_a_time():
    print(take_batch(load_params("params.yaml", sys.argv[1:]), False, "killed").batch_id, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def write(folder, name, *names, day=1):
    """A request file; each person's is due a day after the one before."""
    rows = [
        {"request_id": f"R-{who}", "received_at": f"2025-03-{day + n:02}T12:00:00Z", "subject_id": who}
        for n, who in enumerate(names)
    ]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


@pytest.fixture
def settings(tmp_path):
    """What differs from params.yaml: a corpus that can be changed."""
    (tmp_path / "corpus.jsonl").write_text("first\n")
    return [f"data.corpus={tmp_path / 'corpus.jsonl'}", f"data.requests={tmp_path / 'inbox'}"]


@pytest.fixture
def params(settings):
    return load_params("params.yaml", settings)


def capped(params, cap):
    return params.model_copy(update={"batch": params.batch.model_copy(update={"max_requests": cap})})


def extraction(not_found=(), held=None, forget=0):
    counts = dict.fromkeys(("requests", "earlier", "retain", "holdout", "neighbours"), 0)
    return Extraction(**counts, forget=forget, not_found=list(not_found), held=held or {}, warnings=[])


def states():
    with open_ledger() as ledger:
        ledger.verify_audit()
        return {row.request_id: str(row.state) for row in ledger.requests()}


def asked(batch):
    return pd.read_parquet(batch.workspace.path(Place.REQUESTS))["request_id"].tolist()


def asked_earlier(batch):
    return pd.read_parquet(batch.workspace.path(Place.EARLIER_REQUESTS))["request_id"].tolist()


def test_a_file_is_taken_in_once_whatever_its_name(inbox, params):
    first = write(inbox, "a.jsonl", "ann", "bob")
    settle(inbox)
    assert new_in(str(inbox), params).files == [str(first)]
    receipt = take_in(str(first), params, RUN).receipt
    assert (receipt.new, receipt.repeated, receipt.rejected) == (2, 0, 0)
    again = take_in(str(first), params, RUN).receipt
    assert (again.new, again.repeated) == (0, 2)
    write(inbox, "copy.jsonl", "ann", "bob")
    later = write(inbox, "later.jsonl", "ann", "bob", "eve")
    settle(inbox)
    assert new_in(str(inbox), params).files == [str(later)]
    assert (take_in(str(later), params, RUN).receipt.new, new_in(str(inbox), params).files) == (1, [])
    assert states() == {"R-ann": "validated", "R-bob": "validated", "R-eve": "validated"}


def settle(folder):
    """Let its files look as if nobody wrote to them for a while."""
    for file in folder.iterdir():
        os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 60))


def test_a_bad_row_is_refused_and_the_others_are_taken_in(home, inbox, params):
    file = write(inbox, "a.jsonl", "ann")
    file.write_text(
        file.read_text() + '{"request_id": "R-bob", "received_at": "soon", "subject_id": "bob"}\nnonsense\n'
    )
    taken = take_in(str(file), params, RUN)
    assert (taken.receipt.new, taken.receipt.rejected) == (1, 2)
    assert [reason.split(":")[:2] for reason in taken.reasons] == [["a.jsonl", "2"], ["a.jsonl", "3"]]
    with open_ledger() as ledger:
        assert [(row.file, row.row) for row in ledger.rejections()] == [("a.jsonl", 2), ("a.jsonl", 3)]
    [folder] = (home / "intake").iterdir()
    assert len((folder / "quarantine" / "requests.jsonl").read_text().splitlines()) == 2


def test_a_bad_file_stops_no_other_and_is_told(inbox, params, capsys):
    (inbox / "a.jsonl").write_text("\n")
    write(inbox, "b.jsonl", "bob")
    (inbox / "note.docx").write_text("a note")
    settle(inbox)
    assert take_in_new(str(inbox), params, RUN) == []
    assert states() == {"R-bob": "validated"}
    told = capsys.readouterr().out
    assert "warning: a.jsonl: the file is empty" in told
    assert "passed over: 1 .docx" in told


def test_when_nothing_new_can_be_used_the_reasons_are_handed_back(inbox, params):
    (inbox / "a.jsonl").write_text("nonsense\n")
    settle(inbox)
    [problem] = take_in_new(str(inbox), params, RUN)
    assert problem.startswith("a.jsonl:1: is not ")
    assert take_in_new(str(inbox), params, RUN) == []  # nothing is new any more
    assert outlook(params).refused == 1


def test_a_batch_is_capped_and_takes_the_most_urgent_first(home, inbox, params):
    take_in(str(write(inbox, "a.jsonl", "late", "later", "latest", day=10)), params, RUN)
    take_in(str(write(inbox, "b.jsonl", "urgent")), params, RUN)
    first = take_batch(capped(params, 2), False, RUN)
    assert (first.requests, first.resumed) == (2, False)
    assert first.workspace.root == home / "runs" / first.batch_id
    assert (asked(first), asked_earlier(first)) == (["R-urgent", "R-late"], [])
    assert str(first).startswith(f"batch {first.batch_id} opened: 2 requests, workspace ")

    record_extraction(first, extraction(not_found=["R-late"], forget=1), RUN)
    record_unlearned(first, RUN)
    finish(first, RUN, passed=True)
    second = take_batch(params, False, RUN)
    assert second.batch_id != first.batch_id
    assert (asked(second), asked_earlier(second)) == (["R-later", "R-latest"], ["R-urgent"])
    assert states() == {
        "R-urgent": "awaiting_promotion",
        "R-late": "watched",
        "R-later": "batched",
        "R-latest": "batched",
    }


def test_a_batchs_corpus_is_compared_with_that_of_the_latest_run(inbox, params):
    def open_next(who):
        take_in(str(write(inbox, f"{who}.jsonl", who)), params, RUN)
        return take_batch(params, False, RUN)

    def put_counts(batch, rows):
        write_json(batch.workspace.path(Place.CORPUS_COUNTS), {"rows": rows})
        record_extraction(batch, extraction(not_found=asked(batch)), RUN)
        finish(batch, RUN, passed=None)

    def compared(batch):
        place = batch.workspace.path(Place.EARLIER_CORPUS_COUNTS)
        return read_json(place)["rows"] if place.exists() else None

    first = open_next("ann")
    assert compared(first) is None
    put_counts(first, 1)
    second = open_next("bob")
    assert compared(second) == 1
    put_counts(second, 2)
    third = open_next("eve")
    assert compared(third) == 2
    write_json(first.workspace.path(Place.CORPUS_COUNTS), {"rows": 9})
    assert take_batch(params, False, RUN).resumed
    assert compared(third) == 2  # it was chosen once


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_corpus_that_has_not_changed_is_not_validated_again(tmp_path, inbox, params, is_changed):
    corpus = tmp_path / "corpus.jsonl"
    records = [
        {"record_id": name, "subject_ids": [name], "prompt": "Who?", "response": name} for name in ("ann", "bob")
    ]
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records))
    take_in(str(write(inbox, "a.jsonl", "ann")), params, RUN)
    failed = take_batch(params, False, RUN)
    assert not VALIDATE.run(failed.workspace, params).kept
    record_unlearned(failed, RUN)
    finish(failed, RUN, passed=False)
    if is_changed:
        corpus.write_text(corpus.read_text() + json.dumps(records[0] | {"record_id": "new"}) + "\n")
    retried = take_batch(params, True, RUN)
    outcome = VALIDATE.run(retried.workspace, params, once=True)
    assert (outcome.kept, outcome.result.good) == ((False, 3) if is_changed else (True, 2))
    validated = [pd.read_parquet(batch.workspace.path(Place.CORPUS)) for batch in (failed, retried)]
    assert validated[0].equals(validated[1]) != is_changed
    assert retried.workspace.path(Place.CORPUS_DOCS).is_dir()


def test_a_failed_batch_is_taken_again_only_when_told_to(inbox, params):
    take_in(str(write(inbox, "a.jsonl", "ann")), params, RUN)
    failed = take_batch(params, False, RUN)
    record_unlearned(failed, RUN)
    finish(failed, RUN, passed=False)
    assert states() == {"R-ann": "failed"}
    assert take_batch(params, False, RUN) is None
    retried = take_batch(params, True, RUN)
    assert (asked(retried), asked_earlier(retried)) == (["R-ann"], [])


def test_what_was_not_found_is_looked_for_again_when_the_corpus_has_changed(tmp_path, inbox, params):
    assert take_batch(params, False, RUN) is None
    take_in(str(write(inbox, "a.jsonl", "ann")), params, RUN)
    batch = take_batch(params, False, RUN)
    record_extraction(batch, extraction(not_found=["R-ann"]), RUN)
    finish(batch, RUN, passed=None)
    assert states() == {"R-ann": "watched"}
    assert take_batch(params, False, RUN) is None
    assert outlook(params).watched == 1
    (tmp_path / "corpus.jsonl").write_text("first\nher shard\n")
    assert asked(take_batch(params, False, RUN)) == ["R-ann"]


def test_what_is_held_waits_for_a_person_and_is_then_approved_for_its_reasons(inbox, params):
    take_in(str(write(inbox, "a.jsonl", "ann", "bob")), params, RUN)
    batch = take_batch(params, False, RUN)
    record_extraction(batch, extraction(held={"R-ann": ["large_share: 30 of 60 records"]}, forget=1), RUN)
    assert states() == {"R-ann": "held", "R-bob": "batched"}
    record_unlearned(batch, RUN)
    finish(batch, RUN, passed=True)
    assert take_batch(params, False, RUN) is None
    with open_ledger() as ledger:
        ledger.approve("R-ann", "a person")
        reference = ledger.find("R-ann").reference
    approved = take_batch(params, False, RUN)
    assert read_json(approved.workspace.path(Place.APPROVALS)) == {reference: ["large_share: 30 of 60 records"]}


def test_a_batch_that_cannot_go_on_is_put_back(inbox, params):
    take_in(str(write(inbox, "a.jsonl", "ann")), params, RUN)
    first = take_batch(params, False, RUN)
    for _ in range(2):
        put_back(first, RUN)
    assert states() == {"R-ann": "validated"}
    assert take_batch(params, False, RUN).batch_id != first.batch_id


def test_who_withdraws_before_training_is_left_out_and_afterwards_is_told(inbox, params):
    take_in(str(write(inbox, "a.jsonl", "ann", "bob")), params, RUN)
    first = take_batch(params, False, RUN)
    with open_ledger() as ledger:
        ledger.withdraw("R-ann", "a person")
    assert not begin_training(first, RUN)
    second = take_batch(params, False, RUN)
    assert asked(second) == ["R-bob"]
    assert begin_training(second, RUN)
    with open_ledger() as ledger, pytest.raises(InputError, match="cannot be undone"):
        ledger.withdraw("R-bob", "a person")
    assert states() == {"R-ann": "withdrawn", "R-bob": "batched"}


def test_a_resumed_batch_is_what_it_was_when_it_was_taken(tmp_path, inbox, params):
    take_in(str(write(inbox, "a.jsonl", "ann", "bob")), params, RUN)
    batch = take_batch(params, False, RUN)
    record_extraction(batch, extraction(not_found=["R-ann"], forget=1), RUN)
    (tmp_path / "corpus.jsonl").write_text("the data team deleted rows\n")
    resumed = take_batch(params, False, RUN)
    assert (resumed.batch_id, resumed.resumed, resumed.requests) == (batch.batch_id, True, 2)
    assert asked(resumed) == ["R-ann", "R-bob"]


def test_later_batches_know_the_snapshots_of_those_before(inbox, params):
    take_in(str(write(inbox, "a.jsonl", "ann")), params, RUN)
    first = take_batch(params, False, RUN)
    snapshot = first.workspace.path(Place.FORGET)
    snapshot.parent.mkdir(parents=True)
    snapshot.write_text("what was found")
    record_unlearned(first, RUN)
    finish(first, RUN, passed=True)
    take_in(str(write(inbox, "b.jsonl", "bob")), params, RUN)
    second = take_batch(params, False, RUN)
    assert read_json(first.workspace.path(Place.SNAPSHOTS)) == []
    assert read_json(second.workspace.path(Place.SNAPSHOTS)) == [str(snapshot)]


def test_one_run_at_a_time_and_a_killed_runs_batch_is_taken_up_again(home, inbox, params, settings):
    take_in(str(write(inbox, "a.jsonl", "ann", "bob")), params, RUN)
    command = [sys.executable, "-c", KILLED_RUN, *settings]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        batch_id = process.stdout.readline().strip()
        assert batch_id
        with pytest.raises(AnotherRuns, match=f"another run is at work in {home}; wait"), one_run_at_a_time():
            pytest.fail("two runs at once")
        process.kill()
    assert process.returncode == -signal.SIGKILL

    take_in(str(write(inbox, "b.jsonl", "eve")), params, RUN)
    with one_run_at_a_time():
        batch = take_batch(params, False, RUN)
    assert (batch.batch_id, batch.resumed) == (batch_id, True)
    assert asked(batch) == ["R-ann", "R-bob"]
    assert f"batch {batch_id} taken up again: 2 requests" in str(batch)
    record_unlearned(batch, RUN)
    assert take_batch(params, False, RUN) == batch  # killed after unlearning: still this batch's turn
    for _ in range(2):
        finish(batch, RUN, passed=True)
    assert states() == {"R-ann": "awaiting_promotion", "R-bob": "awaiting_promotion", "R-eve": "validated"}


def test_a_batch_that_never_ends_makes_room_for_others(inbox, params):
    take_in(str(write(inbox, "a.jsonl", "ann")), params, RUN)
    first = take_batch(params, False, RUN)
    for _ in range(params.batch.max_attempts - 1):
        assert take_batch(params, False, RUN).batch_id == first.batch_id
    take_in(str(write(inbox, "b.jsonl", "bob")), params, RUN)
    assert asked(take_batch(params, False, RUN)) == ["R-bob"]
    assert states() == {"R-ann": "failed", "R-bob": "batched"}


def test_what_will_be_late_before_the_next_run_is_in_the_outlook(inbox, params):
    soon = datetime.now(UTC) - timedelta(days=29, hours=12)
    rows = [
        {"request_id": name, "received_at": (soon + timedelta(days=days)).isoformat(), "subject_id": "P-1"}
        for name, days in (("R-1", 0), ("R-2", 1), ("R-3", -9))
    ]
    (inbox / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    take_in(str(inbox / "a.jsonl"), params, RUN)
    assert [row.reference for row in outlook(params).overdue] == ["R-3", "R-1"]
