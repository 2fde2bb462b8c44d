"""A whole study as it is typed: on each task runner of a real Prefect server, killed in its midst, and without one."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.e2e.conftest import REPOSITORY
from tests.e2e.prefect_server import ask, prefect_server
from tests.tasks.study.small import TINY

OPTIONS = [
    *("--method", "grad_diff", "--trials", "2", "--rate", "0.001", "--rate", "0.002", "--seed", "1"),
    *("--split", "forget10", "--params", "params.yaml"),
    *(part for setting in TINY for part in ("--set", setting)),
]


@pytest.fixture
def study(tmp_path):
    """The command in a folder of its own, as arguments and options of subprocess."""
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    left_out = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["UNILOGIT_HOME"] = str(tmp_path / "home")
    return (["unilogit", "study", *OPTIONS], {"cwd": tmp_path, "env": environment, "text": True})


def runs(home):
    from mlflow import MlflowClient

    store = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = store.get_experiment_by_name("study: example forget10")
    return sorted(run.info.run_name for run in store.search_runs([experiment.experiment_id]))


CELLS = ["fine-tuned, seed 1", "grad_diff, seed 1", "retain model, seed 1"]


@pytest.mark.slow  # a minute each
@pytest.mark.parametrize("runner", ["threads", "dask", "ray"])
def test_on_each_task_runner_pieces_are_task_runs_and_cells_are_runs_in_mlflow(study, tmp_path, runner):
    command, options = study
    with prefect_server(tmp_path / "home") as url:
        options["env"]["PREFECT_API_URL"] = url
        done = subprocess.run([*command, "--runner", runner], capture_output=True, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        pieces = {task["name"]: task["state_name"] for task in ask(f"{url}/task_runs/filter", {})}
    assert pieces == dict.fromkeys(
        ["models 1", "tune grad_diff", "grad_diff 1", "fine-tuned 1", "retain model 1"], "Completed"
    )
    [file] = (tmp_path / "var" / "study").glob("*/study.json")
    told = json.loads(file.read_text())
    assert [cell["method"] for cell in told["cells"]] == ["fine-tuned", "retain model", "grad_diff"]
    assert len(told["trials"]["grad_diff"]) == 2
    assert runs(tmp_path / "home") == CELLS


@pytest.mark.slow  # a minute
def test_a_killed_study_goes_on_without_making_anything_twice(study, tmp_path):
    command, options = study
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **options
    )
    tuned = tmp_path / "var" / "study"
    deadline = time.monotonic() + 300
    while not (files := list(tuned.glob("*/tuned-*/grad_diff.log"))) or '"values"' not in files[0].read_text():
        assert first.poll() is None, first.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    [folder] = tuned.glob("example-*")
    models = {path: path.stat().st_mtime_ns for path in folder.glob("seed-1/*/model.safetensors")}
    assert len(models) == 2
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {path: path.stat().st_mtime_ns for path in models} == models
        [trials] = folder.glob("tuned-*/grad_diff.json")
        assert len(json.loads(trials.read_text())["trials"]) == 2
        assert runs(tmp_path / "home") == CELLS
    assert "trial" not in done.stdout  # the third time there is nothing to do


def test_what_cannot_be_studied_is_refused_in_a_sentence(study, tmp_path):
    command, options = study
    for more, problem in (
        (["--method", "nop"], "error: methods: one of: ceu, dpo,"),
        (["--split", "forget50"], "error: split: Input should be 'forget01', 'forget05' or 'forget10'"),
        (["--full", "a/model"], "error: plan: give both models"),
    ):
        done = subprocess.run([*command, *more], capture_output=True, check=False, **options)
        assert done.returncode == 2
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "var").exists()
