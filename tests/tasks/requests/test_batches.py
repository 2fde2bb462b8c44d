"""Between a real ledger and workspaces: nothing is taken twice, a killed run's batch is taken up again."""

import json
import signal
import subprocess
import sys

import pandas as pd
import pytest

from tasks.params import load_params
from tasks.requests.batches import (
    finish,
    new_files,
    one_run_at_a_time,
    open_ledger,
    record_no_match,
    record_unlearned,
    take_batch,
    take_in,
)
from tasks.workspace import Place
from unilogit.errors import InputError
from unilogit.files import read_json, write_json

RUN = "run-1"
PARAMS = load_params("params.yaml")
KILLED_RUN = """
from tasks.requests.batches import one_run_at_a_time, take_batch
with one_run_at_a_time():
    print(take_batch(10, False, "killed").batch_id, flush=True)
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


def states():
    with open_ledger() as ledger:
        ledger.verify_audit()
        return {row.request_id: str(row.state) for row in ledger.requests()}


def asked(batch):
    return pd.read_parquet(batch.workspace.path(Place.REQUESTS))["request_id"].tolist()


def asked_earlier(batch):
    return pd.read_parquet(batch.workspace.path(Place.EARLIER_REQUESTS))["request_id"].tolist()


def test_a_file_is_taken_in_once_whatever_its_name(home, inbox):
    first = write(inbox, "a.jsonl", "ann", "bob")
    assert new_files(inbox) == [str(first)]
    receipt = take_in(first, PARAMS, RUN)
    assert (receipt.file, receipt.new, receipt.repeated, receipt.rejected) == ("a.jsonl", 2, 0, 0)
    assert (take_in(first, PARAMS, RUN).new, take_in(first, PARAMS, RUN).repeated) == (0, 2)
    write(inbox, "copy.jsonl", "ann", "bob")
    later = write(inbox, "later.jsonl", "ann", "bob", "eve")
    assert new_files(inbox) == [str(later)]
    assert (take_in(later, PARAMS, RUN).new, new_files(inbox)) == (1, [])
    assert states() == {"R-ann": "validated", "R-bob": "validated", "R-eve": "validated"}


def test_a_bad_row_is_refused_and_the_others_are_taken_in(home, inbox):
    file = write(inbox, "a.jsonl", "ann")
    file.write_text(
        file.read_text() + '{"request_id": "R-bob", "received_at": "soon", "subject_id": "bob"}\nnonsense\n'
    )
    receipt = take_in(file, PARAMS, RUN)
    assert (receipt.new, receipt.rejected) == (1, 2)
    with open_ledger() as ledger:
        assert [(row.file, row.row) for row in ledger.rejections()] == [("a.jsonl", 2), ("a.jsonl", 3)]
    [folder] = (home / "intake").iterdir()
    assert len((folder / "quarantine" / "requests.jsonl").read_text().splitlines()) == 2


def test_a_file_that_cannot_be_reached_changes_nothing(home, inbox):
    good = write(inbox, "b.jsonl", "bob")
    with pytest.raises(InputError, match=r"a\.jsonl: there is no such file"):
        take_in(inbox / "a.jsonl", PARAMS, RUN)
    assert states() == {}
    assert list(home.rglob("*.parquet")) == []
    assert new_files(inbox) == [str(good)]


def test_a_file_that_holds_no_requests_is_refused_as_a_whole(home, inbox):
    (inbox / "a.jsonl").write_text("\n")
    receipt = take_in(inbox / "a.jsonl", PARAMS, RUN)
    assert (receipt.new, receipt.rejected, states()) == (0, 1, {})


def test_a_batch_is_capped_and_takes_the_most_urgent_first(home, inbox):
    take_in(write(inbox, "a.jsonl", "late", "later", "latest", day=10), PARAMS, RUN)
    take_in(write(inbox, "b.jsonl", "urgent"), PARAMS, RUN)
    first = take_batch(2, False, RUN)
    assert (first.requests, first.resumed) == (2, False)
    assert first.workspace.root == home / "runs" / first.batch_id
    assert (asked(first), asked_earlier(first)) == (["R-urgent", "R-late"], [])
    assert str(first).startswith(f"batch {first.batch_id} opened: 2 requests, workspace ")

    record_no_match(first, ["R-late"], RUN)
    record_unlearned(first, RUN)
    finish(first, RUN, passed=True)
    second = take_batch(10, False, RUN)
    assert second.batch_id != first.batch_id
    assert (asked(second), asked_earlier(second)) == (["R-later", "R-latest"], ["R-urgent"])
    assert states() == {
        "R-urgent": "awaiting_promotion",
        "R-late": "no_match",
        "R-later": "batched",
        "R-latest": "batched",
    }


def test_a_batchs_corpus_is_compared_with_that_of_the_latest_run(home, inbox):
    def open_next(who):
        take_in(write(inbox, f"{who}.jsonl", who), PARAMS, RUN)
        return take_batch(10, False, RUN)

    def put_counts(batch, rows):
        write_json(batch.workspace.path(Place.CORPUS_COUNTS), {"rows": rows})
        record_no_match(batch, asked(batch), RUN)
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
    assert take_batch(10, False, RUN).resumed
    assert compared(third) == 2  # it was chosen once


def test_a_failed_batch_is_taken_again_only_when_told_to(home, inbox):
    take_in(write(inbox, "a.jsonl", "ann"), PARAMS, RUN)
    failed = take_batch(10, False, RUN)
    record_unlearned(failed, RUN)
    finish(failed, RUN, passed=False)
    assert states() == {"R-ann": "failed"}
    assert take_batch(10, False, RUN) is None
    retried = take_batch(10, True, RUN)
    assert (asked(retried), asked_earlier(retried)) == (["R-ann"], [])


def test_a_batch_none_of_whose_people_are_in_the_corpus_is_closed(home, inbox):
    assert take_batch(10, False, RUN) is None
    take_in(write(inbox, "a.jsonl", "ann"), PARAMS, RUN)
    batch = take_batch(10, False, RUN)
    record_no_match(batch, ["R-ann"], RUN)
    finish(batch, RUN, passed=None)
    assert states() == {"R-ann": "no_match"}
    assert take_batch(10, False, RUN) is None


def test_one_run_at_a_time_and_a_killed_runs_batch_is_taken_up_again(home, inbox):
    take_in(write(inbox, "a.jsonl", "ann", "bob"), PARAMS, RUN)
    command = [sys.executable, "-c", KILLED_RUN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        batch_id = process.stdout.readline().strip()
        assert batch_id
        with pytest.raises(InputError, match=f"another run is at work in {home}; wait"), one_run_at_a_time():
            pytest.fail("two runs at once")
        process.kill()
    assert process.returncode == -signal.SIGKILL

    take_in(write(inbox, "b.jsonl", "eve"), PARAMS, RUN)
    with one_run_at_a_time():
        batch = take_batch(10, False, RUN)
    assert (batch.batch_id, batch.resumed) == (batch_id, True)
    assert asked(batch) == ["R-ann", "R-bob"]
    assert f"batch {batch_id} taken up again: 2 requests" in str(batch)
    record_unlearned(batch, RUN)
    assert take_batch(10, False, RUN) == batch  # killed after unlearning: still this batch's turn
    for _ in range(2):
        finish(batch, RUN, passed=True)
    assert states() == {"R-ann": "awaiting_promotion", "R-bob": "awaiting_promotion", "R-eve": "validated"}
