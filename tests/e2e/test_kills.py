"""SIGKILL at instants spread over every write of a run: the next run ends where an unbroken one does."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.registry.connection import client
from tests.e2e.conftest import Project, make_project
from tests.e2e.quick import QUICK, pass_all_gates
from unilogit.files import sha256_weights
from unilogit.ledger import Ledger

pytestmark = pytest.mark.slow

KILLS = 30
SCRIPT = Path(__file__).with_name("killed_flow.py")
NAME = "example-assistant"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A project with its example, of which no batch was taken yet; every gate passes, whatever was measured."""
    project = make_project(tmp_path_factory.mktemp("prepared"))
    project.change_params(**QUICK)
    pass_all_gates(project)
    for step in ("example", "train"):
        project.succeed("python", "-m", f"tasks.steps.{step}", "--workspace", "var/example")
    return project


def run(folder: Path, log: Path, number: int | None = None, work: str = "unlearn", ledger: str = "") -> tuple[int, str]:
    """Exit code and output. The temporary server that a killed process leaves behind is ended too."""
    command = [sys.executable, str(SCRIPT), work, str(log), *([] if number is None else [str(number)])]
    environment = Project(folder).environment | {"PYTHONPATH": str(SCRIPT.parents[2])}
    if ledger:
        environment["UNILOGIT_LEDGER"] = ledger
    told = log.with_suffix(".out")
    with open(told, "w") as stream:  # no pipe: the server would keep it open
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
        code = process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return code, told.read_text()


def outcome(folder: Path, registry: str = "", ledger: str = "") -> tuple[list[str], int, dict[str, str]]:
    """The weights of each run in turn, how many versions there are, and the state of every request.

    Args:
        registry, ledger: their URLs; SQLite in the folder by default.
    """
    workspaces = sorted(path for path in (folder / "var" / "runs").iterdir() if not path.name.startswith("."))
    versions = client(registry or f"sqlite:///{folder / 'var' / 'mlflow.db'}").search_model_versions(f"name = '{NAME}'")
    with Ledger(ledger or folder / "var" / "ledger.db") as opened:
        opened.verify_audit()
        states = {row.request_id: str(row.state) for row in opened.requests()}
    return [sha256_weights(workspace / "model") for workspace in workspaces], len(versions), states


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory):
    """What a run that nobody kills ends with, and its writes."""
    folder = tmp_path_factory.mktemp("unbroken")
    shutil.copytree(prepared.folder, folder, dirs_exist_ok=True)
    log = folder.parent / "unbroken.log"
    code, told = run(folder, log)
    assert code == 0, told
    return outcome(folder), log.read_text().splitlines()


def test_the_writes_of_a_run_are_many_and_of_every_step(unbroken):
    _, writes = unbroken
    assert len(writes) > 200
    told = "\n".join(writes)
    for part in ("ledger.db", "mlflow.db", "intake", "/validated", "/data", "/retain_model", "/model", "/attacks"):
        assert part in told
    for part in ("checkpoint-", "training.json", "/evaluation", "gates.json", "registration.json", "mlartifacts"):
        assert part in told


@pytest.mark.parametrize("place", range(KILLS))
def test_a_run_killed_at_a_write_is_ended_by_the_next(prepared, unbroken, tmp_path, place):
    wanted, writes = unbroken
    number = (2 * place + 1) * len(writes) // (2 * KILLS)
    folder = tmp_path / "project"
    shutil.copytree(prepared.folder, folder)
    code, told = run(folder, tmp_path / "killed.log", number)
    assert code == -signal.SIGKILL, f"write {number} was not reached\n{told}"
    code, told = run(folder, tmp_path / "resumed.log")
    assert code == 0, f"killed at {writes[number]}\n{told}"
    assert outcome(folder) == wanted, f"killed at {writes[number]}"
    hidden = [path.name for path in next((folder / "var" / "runs").glob("2*")).rglob(".*")]
    assert hidden == [".stamps"], f"killed at {writes[number]}: left over"
