"""Steps: one declaration, and the task, the command and the kept result that follow from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from tasks.params import load_params
from tasks.step import Source, Step
from tasks.steps import NAMES, load_step
from tasks.workspace import Place, Workspace
from unilogit.errors import InputError

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"


class Counted(BaseModel):
    number: int

    def __str__(self) -> str:
        return f"counted {self.number}"


RUNS = []


def count(workspace: Workspace, params) -> Counted:
    """Count the letters of the forget set. Not shown.

    Raises:
        InputError: there are none.
    """
    RUNS.append(1)
    text = workspace.path(Place.FORGET).read_text()
    if not text:
        raise InputError("forget.parquet:1: is empty; fill it", "and another")
    workspace.path(Place.TRAINING).write_text(str(len(text) * params.unlearn.epochs))
    return Counted(number=len(text) * params.unlearn.epochs)


STEP = Step("gate", count, reads=(Place.FORGET, Source.HOLDOUT), writes=(Place.TRAINING,), params=("unlearn.epochs",))


@pytest.fixture
def params(tmp_path):
    (tmp_path / "holdout.jsonl").write_text("h")

    def load(*overrides):
        return load_params(PARAMS, [f"data.holdout={tmp_path / 'holdout.jsonl'}", *overrides])

    return load


@pytest.fixture
def workspace(tmp_path):
    place = Workspace(tmp_path / "w")
    place.path(Place.FORGET).parent.mkdir(parents=True)
    place.path(Place.FORGET).write_text("abc")
    RUNS.clear()
    return place


def test_a_step_is_kept_until_something_it_depends_on_changes(workspace, params, tmp_path):
    def run(*overrides):
        outcome = STEP.run(workspace, params(*overrides))
        return outcome.kept, outcome.result.number

    assert run("unlearn.epochs=2") == (False, 6)
    assert run("unlearn.epochs=2") == (True, 6)
    assert run("unlearn.epochs=2", "unlearn.learning_rate=1", "seed=5") == (True, 6)  # it depends on neither
    assert run("unlearn.epochs=3") == (False, 9)
    workspace.path(Place.FORGET).write_text("abcd")
    assert run("unlearn.epochs=3") == (False, 12)
    (tmp_path / "holdout.jsonl").write_text("H")
    assert run("unlearn.epochs=3") == (False, 12)
    workspace.path(Place.TRAINING).write_text("by hand")
    assert run("unlearn.epochs=3") == (False, 12)
    assert run("unlearn.epochs=3") == (True, 12)
    assert len(RUNS) == 5


def test_what_a_killed_run_was_writing_is_swept_away(workspace, params):
    for left in (".forget.parquet.x1y2", "data/.old/deep/file", ".stamps/.gate.json.ab"):
        workspace.root.joinpath(left).parent.mkdir(parents=True, exist_ok=True)
        workspace.root.joinpath(left).write_text("half")
    STEP.run(workspace, params())
    files = sorted(str(path.relative_to(workspace.root)) for path in workspace.root.rglob("*") if path.is_file())
    assert files == [".stamps/gate.json", "data/forget.parquet", "training.json"]


def test_what_another_workspace_has_made_from_the_same_is_taken_over(workspace, params, tmp_path):
    later = Workspace(tmp_path / "later")
    assert not STEP.take_over(later, params(), workspace)  # nothing is made there
    STEP.run(workspace, params())
    later.path(Place.FORGET).parent.mkdir(parents=True)
    later.path(Place.FORGET).write_text("other")
    assert not STEP.take_over(later, params(), workspace)
    later.path(Place.FORGET).write_text("abc")
    assert not STEP.take_over(later, params("unlearn.epochs=3"), workspace)
    made = workspace.path(Place.TRAINING)
    made.write_text(whole := made.read_text() + " by hand")
    assert not STEP.take_over(later, params(), workspace)
    assert not later.path(Place.TRAINING).exists()
    made.write_text(whole.removesuffix(" by hand"))
    assert STEP.take_over(later, params(), workspace)
    assert later.path(Place.TRAINING).read_bytes() == made.read_bytes()
    assert str(STEP.run(later, params())) == "kept: counted 60"
    assert len(RUNS) == 1


def test_a_kill_while_it_is_taken_over_leaves_nothing_that_counts(workspace, params, tmp_path, monkeypatch):
    STEP.run(workspace, params())
    later = Workspace(tmp_path / "later")
    later.path(Place.FORGET).parent.mkdir(parents=True)
    later.path(Place.FORGET).write_text("abc")

    def killed(keeper, result):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tasks.step.Keeper.done", killed)
        with pytest.raises(KeyboardInterrupt):
            STEP.take_over(later, params(), workspace)
    assert later.path(Place.TRAINING).exists()
    assert not STEP.run(later, params()).kept
    assert STEP.run(later, params()).kept


def test_a_kept_step_says_so(workspace, params):
    assert str(STEP.run(workspace, params())) == "counted 60"
    assert str(STEP.run(workspace, params())) == "kept: counted 60"


def test_what_is_missing_is_named_with_the_step_that_makes_it(workspace, params):
    workspace.path(Place.FORGET).unlink()
    with pytest.raises(InputError) as refusal:
        STEP.run(workspace, params())
    where = workspace.path(Place.FORGET)
    assert refusal.value.problems == [
        f"{where}: no such file; run `python -m tasks.steps.extract --workspace {workspace.root}` first"
    ]


def test_sources_are_paths_only_where_params_name_one(params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local").mkdir()
    for base, path in (("org/model", None), ("gpt2", None), ("a/b/c", "a/b/c"), ("local", "local"), ("./x", "./x")):
        assert Source.BASE.path_in(params(f"model.base={base}")) == path
    for retain, path in (("train", None), ("null", None), ("a/b/c", "a/b/c")):
        assert Source.RETAIN_MODEL.path_in(params(f"model.retain={retain}")) == path
    assert Source.HOLDOUT.path_in(params("data.holdout=null")) is None


def test_only_the_first_of_several_processes_stamps(workspace, params, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert not STEP.run(workspace, params()).kept
    assert not STEP.run(workspace, params()).kept
    monkeypatch.setenv("RANK", "0")
    assert not STEP.run(workspace, params()).kept
    assert STEP.run(workspace, params()).kept


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_declared_in_the_module_of_its_name(name):
    step = load_step(name)
    assert step.name == name
    assert step.summary.endswith(".")
    load_params(PARAMS)
    for key in step.params:
        load_params(PARAMS).value(key)


def test_what_a_step_reads_an_earlier_one_writes():
    written = set()
    for name in NAMES[2:]:
        step = load_step(name)
        for place in step.reads:
            if isinstance(place, Place):
                assert any(place == made or place.startswith(f"{made}/") for made in written), (name, place)
        written |= set(step.writes)


def run_step(folder, name, *arguments):
    environment = os.environ | {"UNILOGIT_HOME": str(folder / "var")}
    command = [sys.executable, "-m", f"tasks.steps.{name}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_command_asks_for_its_workspace_and_has_help(tmp_path):
    done = run_step(tmp_path, "gate")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing option" in done.stderr
    helped = run_step(tmp_path, "gate", "--help").stdout
    assert load_step("gate").summary[:40] in helped
    assert "--workspace" in helped
    assert "Raises" not in helped


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--params", "params.yaml"], ["params.yaml: no such file; run from the project's folder or pass"]),
        (
            ["--params", str(PARAMS)],
            ["metrics.json: no such file; run `python -m tasks.steps.evaluate"],
        ),
        (
            ["--params", str(PARAMS), "--set", "seed=-1", "--set", "batch.max_requests=no"],
            ["seed = -1", "batch.max_requests ="],
        ),
    ],
)
def test_the_command_says_what_it_cannot_use_and_writes_nothing(tmp_path, arguments, words):
    done = run_step(tmp_path, "gate", "--workspace", "w", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == len(words)
    for line, expected in zip(lines, words, strict=True):
        assert line.startswith("error: ")
        assert expected in line
    assert list((tmp_path / "w").rglob("*")) == []


def test_a_workspace_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    done = run_step(tmp_path, "gate", "--workspace", "file/inner", "--params", str(PARAMS))
    assert done.returncode == 2
    assert done.stderr.startswith("error: file/inner: cannot be made a folder (")
