"""One flow in other places: on two processes that it starts itself, and in a deployment; it ends where it does here."""

import json
import shutil

import pytest

from tests.e2e.test_kills import prepared  # noqa: F401
from tests.e2e.test_servers import running_servers
from unilogit.files import read_json

pytestmark = pytest.mark.slow


def run(prepared, folder, processes):  # noqa: F811
    """Training of a run of the whole flow with so many processes, and what was printed."""
    project = type(prepared)(shutil.copytree(prepared.folder, folder))
    printed = project.succeed("unilogit", "run", "--set", f"unlearn.processes={processes}")
    [workspace] = (folder / "var" / "runs").glob("2*")
    return read_json(workspace / "training.json"), printed, workspace


def test_two_processes_of_one_flow_end_where_one_does(prepared, tmp_path):  # noqa: F811
    one, _, _ = run(prepared, tmp_path / "one", 1)
    two, printed, workspace = run(prepared, tmp_path / "two", 2)
    assert "2 processes on the CPU" in printed
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["steps"] == two["steps"]
    losses = [[entry["loss"] for entry in training["history"] if "loss" in entry] for training in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert json.loads((workspace / ".stamps" / "unlearn.json").read_text())["result"]["processes"] == 2


def test_a_deployment_run_gives_the_weights_of_a_run_in_process(prepared, tmp_path):  # noqa: F811
    here, _, _ = run(prepared, tmp_path / "here", 1)
    project = type(prepared)(shutil.copytree(prepared.folder, tmp_path / "deployed"))
    with running_servers(project):
        project.succeed("prefect", "deployment", "run", "unlearn/production", "--watch")
    [workspace] = (project.folder / "var" / "runs").glob("2*")
    assert read_json(workspace / "training.json")["weights_sha256"] == here["weights_sha256"]
