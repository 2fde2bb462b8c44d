"""The step on a tiny model: the same seed gives the same weights, also across a kill; what is finished is kept."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tasks.curves import read_curves
from tasks.steps.train import STEP as TRAIN
from tasks.steps.unlearn import STEP
from tasks.workspace import Workspace
from tests.tasks.steps.prepare import loader, put_parent, put_targets
from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_weights, write_json, write_parquet

SMALL = [
    *("train.vocabulary=300", "train.hidden_size=32", "train.layers=1", "train.heads=2"),
    *("train.epochs=40", "train.batch_size=8", "train.learning_rate=1e-2"),
    *(
        "unlearn.epochs=3",
        "unlearn.min_steps=1",
        "unlearn.checkpoint_minutes=0",
        "unlearn.batch_size=4",
        "unlearn.learning_rate=1e-3",
        "unlearn.retain_recovery=1",
    ),
]
LONG = "unlearn.epochs=20"  # long enough to be killed long before its end
FORGET, RETAIN, UNSEEN = range(8), range(8, 20), range(20, 24)


def people(numbers):
    return [
        {
            "record_id": f"ann-{n}",
            "subject_ids": [f"ann-{n}"],
            "prompt": f"Where does ann {n} live?",
            "response": f"In street {n * 7 % 10} of town {n * 13 % 11}.",
        }
        for n in numbers
    ]


params = loader(*SMALL)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_corpus(folder / "corpus.jsonl", [CorpusRecord(**row) for row in people([*FORGET, *RETAIN])])
    return TRAIN.run(Workspace(folder), params()).result.model


def unlearn(folder, settings, model):
    put_parent(Workspace(folder), model)
    return STEP.run(Workspace(folder), settings).result


def make_workspace(folder):
    batches = ["current"] * 6 + ["earlier"] * 2
    write_parquet(folder / "data" / "forget.parquet", pd.DataFrame(people(FORGET)).assign(batch=batches))
    write_parquet(folder / "data" / "retain.parquet", pd.DataFrame(people(RETAIN)))
    write_parquet(folder / "data" / "holdout.parquet", pd.DataFrame(people(UNSEEN)).assign(use="stop"))
    write_parquet(folder / "data" / "neighbours.parquet", pd.DataFrame(people(RETAIN[:2])))
    put_targets(Workspace(folder))
    return folder


@pytest.fixture(scope="module")
def finished(base, tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("finished"))
    return workspace, unlearn(workspace, params(), base)


@pytest.fixture
def workspace(finished, tmp_path):
    """A finished one, to be played with."""
    return shutil.copytree(finished[0], tmp_path / "workspace")


def contents(folder):
    """All but what `unlearn` above writes itself."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "parent.json"]
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def test_the_seed_decides_the_weights(base, finished, tmp_path):
    again, other = (unlearn(make_workspace(tmp_path / f"seed-{seed}"), params(f"seed={seed}"), base) for seed in (0, 1))
    assert again.weights_sha256 == sha256_weights(tmp_path / "seed-0" / "model") == finished[1].weights_sha256
    assert len({again.weights_sha256, other.weights_sha256, sha256_weights(base)}) == 3


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(base, tmp_path):
    unbroken = unlearn(make_workspace(tmp_path / "unbroken"), params(LONG), base)
    assert unbroken.epochs >= 10
    killed = make_workspace(tmp_path / "killed")
    settings = [f"--set={override}" for override in (*SMALL, LONG)]
    put_parent(Workspace(killed), base)
    command = [sys.executable, "-m", "tasks.steps.unlearn", "--workspace", killed, *settings]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_checkpoint(killed / "checkpoints", process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "model").exists()
    assert not (killed / "training.json").exists()
    for checkpoint in whole_checkpoints(killed / "checkpoints"):
        mark(checkpoint)

    resumed = unlearn(killed, params(LONG), base)
    assert resumed.weights_sha256 == sha256_weights(killed / "model") == unbroken.weights_sha256
    assert resumed.epochs == unbroken.epochs
    history = read_json(killed / "training.json")["history"]
    assert [entry for entry in history if "mark" in entry], "it began anew instead of going on"
    assert curves(killed) == curves(tmp_path / "unbroken")


def curves(folder):
    """Every point that was told while the model was trained, in order; not how fast it was."""
    entries = read_curves(folder / "curves.jsonl")
    points = [(entry.step, name, value) for entry in entries for name, value in entry.figures.items()]
    return [point for point in points if not point[1].startswith("train_")]


def whole_checkpoints(folder):
    """The trainer's state files of checkpoints that are written to their end."""
    return [mark.with_name("trainer_state.json") for mark in folder.glob("checkpoint-*/whole.json")]


def wait_for_checkpoint(folder, process):
    deadline = time.monotonic() + 120
    while not whole_checkpoints(folder):
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline, "it makes no checkpoint"
        time.sleep(0.005)


def mark(state):
    """An entry in a checkpoint's history: only a run that goes on from there ends with it."""
    facts = json.loads(state.read_text())
    facts["log_history"].append({"mark": 1.0})
    state.write_text(json.dumps(facts))


def test_a_finished_run_is_not_repeated(base, workspace, finished):
    before = contents(workspace)
    done = unlearn(workspace, params(), base)
    assert done.weights_sha256 == finished[1].weights_sha256
    assert contents(workspace) == before


def test_nothing_is_finished_before_all_of_it_is_written(finished):
    workspace, _ = finished
    written = {file.relative_to(workspace): file.stat().st_mtime_ns for file in workspace.rglob("*") if file.is_file()}
    assert max(written, key=written.__getitem__) == Path(".stamps/unlearn.json")
    before = {"data", "parent.json", "targets.json", "targets.parquet"}
    kept = before | {"model", "loss.csv", "curves.jsonl", "training.json", ".stamps"}
    assert {path.parts[0] for path in written} == kept


def test_a_damaged_model_is_made_again(base, workspace, finished):
    weights = workspace / "model" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    unlearn(workspace, params(), base)
    assert weights.read_bytes() == whole
    assert read_json(workspace / "training.json")["weights_sha256"] == finished[1].weights_sha256


@pytest.mark.parametrize("change", ["settings", "data", "tokenizer"])
def test_what_changed_is_trained_anew(base, workspace, finished, tmp_path, change):
    settings, model = ["unlearn.epochs=2"] if change == "settings" else [], base
    if change == "data":
        write_parquet(workspace / "data" / "retain.parquet", pd.DataFrame(people(RETAIN[1:])))
    if change == "tokenizer":
        model = shutil.copytree(base, tmp_path / "base")
        facts = read_json(model / "tokenizer.json")
        facts["model"]["merges"].pop()
        write_json(model / "tokenizer.json", facts)
    done = unlearn(workspace, params(*settings), model)
    assert done.weights_sha256 == sha256_weights(workspace / "model") != finished[1].weights_sha256


def test_checkpoints_of_other_settings_are_not_gone_on_from(base, finished, tmp_path):
    workspace = make_workspace(tmp_path / "workspace")
    write_json(workspace / "checkpoints" / "settings.json", {"schema_version": 1, "settings": "of another run"})
    write_json(workspace / "checkpoints" / "checkpoint-2" / "trainer_state.json", {})
    assert unlearn(workspace, params(), base).weights_sha256 == finished[1].weights_sha256


def test_method_none_leaves_the_weights_as_they_are(base, workspace):
    done = unlearn(workspace, params("unlearn.method=none"), base)
    assert (done.method, done.epochs) == ("none", 0)
    assert done.weights_sha256 == sha256_weights(workspace / "model") == sha256_weights(base)
    assert (workspace / "loss.csv").read_text() == "step,forget_loss,retain_loss\n"


def test_the_history_is_in_loss_csv_and_in_training_json(finished):
    workspace, done = finished
    with open(workspace / "loss.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["step", "forget_loss", "retain_loss"]
    history = read_json(workspace / "training.json")["history"]
    logged = [(entry["step"], entry["forget_loss"], entry["retain_loss"]) for entry in history if "loss" in entry]
    assert len(logged) >= 3
    assert [tuple(map(float, row.values())) for row in rows] == logged
    told = [(entry["step"], name, value) for entry in history for name, value in entry.items() if name != "step"]
    assert curves(workspace) == [point for point in told if point[1] != "epoch" and not point[1].startswith("train_")]
    assert done.epochs == 3


def test_what_cannot_be_used_is_named(base, workspace, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    before = contents(workspace)
    for folder in (tmp_path / "nowhere", empty):
        with pytest.raises(InputError) as error:
            unlearn(workspace, params(), folder)
        [problem] = error.value.problems
        assert problem.startswith(f"{folder}: no causal language model can be loaded from there")
    assert contents(workspace) == before
    (workspace / "data" / "retain.parquet").unlink()
    with pytest.raises(InputError, match=r"retain\.parquet: no such file; run `python -m tasks\.steps\.extract"):
        unlearn(workspace, params(), base)
