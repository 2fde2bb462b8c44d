"""A night in which machines die: kills spread over the steps of a batch, and nobody who types a command.

A cron runs the deployment every minute. However often the flow, the worker, Prefect, MLflow, PostgreSQL or
`unilogit up` itself is killed or frozen, each batch ends with the one version and the weights that an unbroken run ends
with, and the slot is free. Where a batch comes to its end meanwhile, somebody else's request is the next one.
UNILOGIT_NIGHT_KILLS says how many kills there are on each kind of database (20).
"""

import os
import shutil
import signal
import subprocess
import time
from itertools import cycle, islice

import pytest

from flows.processes import end, marked
from tests.e2e.conftest import make_project
from tests.e2e.night import STEPS, Database, Kill, Night, put_request, wait_until
from tests.e2e.quick import QUICK, pass_all_gates
from tests.e2e.test_kills import outcome
from tests.ledger.postgresql import HOW_TO_INSTALL, programs

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("UNILOGIT_NIGHT_KILLS", "20"))


KINDS = [
    Kill("flow", signal.SIGKILL),
    Kill("up", signal.SIGKILL),
    Kill("worker", signal.SIGKILL),
    Kill("prefect", signal.SIGKILL),
    Kill("flow", signal.SIGSTOP),
    Kill("mlflow", signal.SIGKILL),
    Kill("up", signal.SIGHUP),
    Kill("flow", signal.SIGKILL),
    Kill("worker", signal.SIGSTOP),
    Kill("prefect", signal.SIGSTOP),
]
DATABASE_KINDS = [Kill("postgresql", signal.SIGKILL), *KINDS, Kill("postgresql", signal.SIGSTOP)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("prepared"))
    # A batch that is killed so often must not be given up for that; and one person is many of so few.
    project.change_params(**QUICK, batch={"max_attempts": 1000, "max_share_of_corpus": 0.5})
    pass_all_gates(project)
    for step in ("example", "train"):
        project.succeed("python", "-m", f"tasks.steps.{step}", "--workspace", "var/example")
    return project


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """None where the databases are files of the home."""
    if request.param == "sqlite":
        yield None
        return
    folder = programs()
    if folder is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW_TO_INSTALL)
    running = Database(folder)
    yield running
    running.end()


@pytest.fixture
def night(prepared, database, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(prepared.folder, folder)
    file = folder / "prefect.yaml"
    declared = file.read_text()
    assert declared.count('"0 2 * * *"') == 1
    file.write_text(declared.replace('"0 2 * * *"', '"* * * * *"'))
    running = Night(folder, prepared.environment, database)
    yield running
    running.end()
    end(entry.process for entry in marked(running.home))


@pytest.fixture
def unbroken(prepared, tmp_path):
    """What as many batches end with that nobody kills."""
    folder = tmp_path / "unbroken"
    shutil.copytree(prepared.folder, folder)

    def run(batches):
        for number in range(batches):
            if number:
                put_request(folder, number)
            command = ["unilogit", "run"]
            subprocess.run(command, cwd=folder, env=prepared.environment, check=True, stdout=subprocess.DEVNULL)
        return outcome(folder)

    return run


def test_whatever_is_killed_every_batch_ends_as_if_nothing_had_happened(night, unbroken):
    told = []
    for count, kill in enumerate(islice(cycle(DATABASE_KINDS if night.database else KINDS), KILLS)):
        told.append(night.kill(kill, count * len(STEPS) // KILLS))
        print(time.strftime("%H:%M:%S"), told[-1], flush=True)
    wait_until(night.has_ended, "the batch ends", 900)
    wait_until(night.is_free, "the slot is free", 600)
    assert night.outcome() == unbroken(night.batches), told
    wait_until(
        lambda: any(run["state_name"] == "NothingToDo" for run in night.unlearn_runs()),
        "a quiet tick",
        300,
    )
