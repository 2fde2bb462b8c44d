"""A batch's run while the batch is worked on: seen as it goes, ended as it ended, and gone on with after a kill."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tasks.curves import CurveWriter
from tasks.registry import live
from tasks.registry.connection import client
from tasks.registry.live import live_run
from tasks.registry.run import KILLS
from tasks.steps.register import run_register
from tasks.workspace import Place, Training
from tests.tasks.registry.servers import serving
from tests.tasks.workspaces import HISTORY, build_registrable
from unilogit.errors import InputError
from unilogit.files import write_text


@pytest.fixture
def workspace(store, home, params, monkeypatch):
    monkeypatch.setattr(live, "SECONDS", 0.1)
    return build_registrable(home / "runs" / "batch-1", params)


def only_run(store):
    [run] = store.search_runs(["1"])
    return run


def history(store, name):
    return [(point.step, point.value) for point in store.get_metric_history(only_run(store).info.run_id, name)]


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_losses_and_sets_are_seen_while_the_model_is_trained(store, workspace, params):
    curves = CurveWriter(workspace.path(Place.CURVES), "a training")
    with live_run(workspace, params) as run:
        assert only_run(store).info.run_id == run.run_id
        assert only_run(store).info.status == "RUNNING"
        assert only_run(store).data.params["unlearn.method"] == "unilogit"
        curves.write(1, {"forget_loss": 2.0})
        wait_until(lambda: "forget_loss" in only_run(store).data.metrics)
        assert only_run(store).inputs.dataset_inputs == []
        write_text(workspace.path(Place.DATA_POINTER), "outs:\n- md5: 0815.dir\n  path: data\n")
        wait_until(lambda: only_run(store).inputs.dataset_inputs)
        curves.write(2, {"forget_loss": 1.0})
    assert history(store, "forget_loss") == [(1, 2.0), (2, 1.0)]
    assert only_run(store).info.status == "FINISHED"
    [forget] = only_run(store).inputs.dataset_inputs
    assert forget.dataset.source == '{"path": "data/forget.parquet", "md5": "0815.dir"}'


def test_how_busy_the_machine_is_is_measured(store, workspace, params, monkeypatch):
    monkeypatch.setattr(live, "SYSTEM_SECONDS", 0.2)
    with live_run(workspace, params):
        wait_until(lambda: "system/cpu_utilization_percentage" in only_run(store).data.metrics)
    measured = set(only_run(store).data.metrics)
    assert {"system/system_memory_usage_megabytes", "system/disk_usage_percentage"} <= measured


class Interrupted(BaseException):
    """As a signal that cancels."""


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError, "FAILED"), (InputError, "FAILED"), (Interrupted, "KILLED")]
)
def test_a_run_that_fails_is_seen_to(store, workspace, params, error, status):
    with pytest.raises(error), live_run(workspace, params):
        raise error("text of Odalys")
    run = only_run(store)
    assert run.info.status == status
    assert "Odalys" not in str(run.to_dictionary())
    with live_run(workspace, params):
        assert only_run(store).info.status == "RUNNING"
    assert only_run(store).info.status == "FINISHED"


def test_a_batch_that_is_put_back_ends_its_run_as_killed(store, workspace, params):
    with live_run(workspace, params) as run:
        run.put_back()
    assert only_run(store).info.status == "KILLED"


def test_the_run_is_the_one_that_is_registered_and_its_points_are_there_once(store, workspace, params):
    curves = CurveWriter(workspace.path(Place.CURVES), "a training")
    with live_run(workspace, params) as run:
        for entry in HISTORY:
            curves.write(entry["step"], {name: value for name, value in entry.items() if name != "step"})
        wait_until(lambda: "retain_probability" in only_run(store).data.metrics)
        registration = run_register(workspace, params)
        assert registration.run_id == run.run_id
    assert only_run(store).info.status == "FINISHED"
    for name in ("forget_loss", "retain_loss", "forget_nll"):
        logged = [(entry["step"], entry[name]) for entry in workspace.read(Training).history if name in entry]
        assert history(store, name) == logged
    with live_run(workspace, params):
        assert run_register(workspace, params) == registration
    assert history(store, "forget_loss") == [(1, 2.0), (2, 1.0)]


WORK = """
import sys
from pathlib import Path
from tasks.curves import CurveWriter
from tasks.params import load_params
from tasks.registry import live
from tasks.workspace import Place, Workspace

live.SECONDS = 0.05
workspace = Workspace(Path(sys.argv[1]))
with live.live_run(workspace, load_params(sys.argv[2])):
    curves = CurveWriter(workspace.path(Place.CURVES), "a training")
    for step in range(1, 1000):
        curves.write(step, {"loss": 1 / step})
        print(step, flush=True)
        sys.stdin.readline()
"""


def test_a_run_that_is_killed_is_gone_on_with_and_marked(store, workspace, params, request):
    from tests.tasks.conftest import PARAMS

    for kill in (1, 2):
        command = [sys.executable, "-c", WORK, str(workspace.root), str(PARAMS)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(5 * kill):
            process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
        wait_until(lambda: "loss" in only_run(store).data.metrics)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert only_run(store).info.status == "RUNNING"
    with live_run(workspace, params):
        assert only_run(store).data.tags[KILLS] == "2"
    assert only_run(store).info.status == "FINISHED"
    points = history(store, "loss")
    assert points == [(step, 1 / step) for step in range(1, len(points) + 1)]
    assert len(points) >= 10


@pytest.mark.slow
def test_a_server_that_dies_keeps_nothing_from_going_on_and_the_rest_is_logged_later(
    store, workspace, params, home, monkeypatch, capsys
):
    curves = CurveWriter(workspace.path(Place.CURVES), "a training")
    with serving(home) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with live_run(workspace, params) as run:
            curves.write(1, {"forget_loss": 2.0})
            wait_until(lambda: "forget_loss" in only_run(store).data.metrics)
            os.killpg(int((home / "server.pid").read_text()), signal.SIGKILL)
            start = time.monotonic()
            curves.write(2, {"forget_loss": 1.0})
    assert time.monotonic() - start < 60
    assert f"run {run.run_id} could not be marked FINISHED: MLflow at {uri} does not answer" in capsys.readouterr().out
    assert only_run(store).info.status == "RUNNING"
    with serving(home) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with live_run(workspace, params):
            assert client().get_run(run.run_id).data.tags[KILLS] == "1"
    assert history(store, "forget_loss") == [(1, 2.0), (2, 1.0)]
    assert only_run(store).info.status == "FINISHED"
