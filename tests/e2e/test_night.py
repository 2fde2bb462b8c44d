"""A night in which machines die: kills spread over the steps of a batch, and nobody who types a command.

A cron runs the deployment every minute, a loop starts `unilogit up` again as a service manager would. However often the
flow, the worker, Prefect, MLflow or `unilogit up` itself is killed, the batch ends with the one version and the weights
that an unbroken run ends with, and the slot is free. UNILOGIT_NIGHT_KILLS says how many kills there are (20).
"""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import psutil
import pytest

from flows.processes import end, marked
from tests.e2e.conftest import make_project
from tests.e2e.quick import QUICK, pass_all_gates
from tests.e2e.test_kills import outcome
from tests.e2e.test_servers import free_ports
from unilogit.ledger import Ledger

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("UNILOGIT_NIGHT_KILLS", "20"))
STEPS = ("validate", "extract", "store", "parent", "retain_model", "unlearn", "attack", "evaluate", "gate", "register")
FROZEN = 150  # seconds for which a stopped process stays so: longer than its silence may be
SERVICE = "while true; do unilogit up >> up.log 2>&1; sleep 1; done"


@dataclass(frozen=True)
class Kill:
    """A signal to a process; SIGSTOP is followed by SIGCONT."""

    target: str
    number: signal.Signals

    def __str__(self) -> str:
        return f"{self.number.name} to {self.target}"


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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("prepared"))
    # A batch that is killed so often must not be given up for that.
    project.change_params(**QUICK, batch={"max_attempts": 1000})
    pass_all_gates(project)
    for step in ("example", "train"):
        project.succeed("python", "-m", f"tasks.steps.{step}", "--workspace", "var/example")
    return project


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    shutil.copytree(prepared.folder, folder, dirs_exist_ok=True)
    environment = prepared.environment
    subprocess.run(["unilogit", "run"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return outcome(folder)


class Night:
    """A project whose `unilogit up` is started again whenever it ends."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.home, self.log = folder, folder / "var", folder / "up.log"
        ports = free_ports()
        self.api = f"http://127.0.0.1:{ports['UNILOGIT_PREFECT_PORT']}/api"
        self.service = subprocess.Popen(
            ["bash", "-c", SERVICE], cwd=folder, env={**environment, **ports}, start_new_session=True
        )

    def end(self) -> None:
        os.killpg(self.service.pid, signal.SIGKILL)
        self.service.wait()
        wait_until(lambda: not marked(self.home), "the guard ends what is left", 60)

    def process(self, target: str) -> psutil.Process | None:
        """The one that a kill is for; None while it does not run."""
        try:
            if target == "up":
                told = json.loads((self.home / "up.json").read_text())
                return psutil.Process(told["process"])
            words = {"flow": "prefect.engine", "worker": "worker", "prefect": "server", "mlflow": "server"}[target]
            child = "worker" if target == "flow" else target
            alive = [entry for entry in marked(self.home, child=child) if words in entry.process.cmdline()]
            alive = [entry for entry in alive if (entry.flow_run is not None) == (target == "flow")]
            return min((entry.process for entry in alive), key=psutil.Process.create_time, default=None)
        except (psutil.Error, FileNotFoundError):
            return None

    def is_past(self, step: str) -> bool:
        """Whether the batch has finished this step."""
        return any(self.home.glob(f"runs/2*/.stamps/{step}.json"))

    def has_ended(self) -> bool:
        if not (self.home / "ledger.db").exists():
            return False
        with Ledger(self.home / "ledger.db") as ledger:
            return any(batch.finished_at is not None for batch in ledger.batches())

    def kill(self, kill: Kill, step: int) -> str:
        """Wait until the batch has come to a step, and kill; what was done."""

        def ready() -> bool:
            begun = step == 0 or self.is_past(STEPS[step - 1])
            flow = self.process("flow")
            return begun and flow is not None and self.process(kill.target) is not None

        wait_until(lambda: ready() or self.has_ended(), f"{kill} at {STEPS[step]}", 600)
        if self.has_ended():
            return f"{kill}: the batch had ended"
        process = self.process(kill.target)
        assert process is not None
        process.send_signal(kill.number)
        if kill.number is signal.SIGSTOP:
            time.sleep(FROZEN)
            if process.is_running():  # otherwise it was replaced meanwhile
                process.send_signal(signal.SIGCONT)
        done = [name for name in STEPS if self.is_past(name)]
        return f"{kill} after {done[-1] if done else 'nothing'}"

    def ask(self, path: str, body: dict) -> list[dict]:
        request = urllib.request.Request(
            f"{self.api}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def unlearn_runs(self) -> list[dict]:
        return self.ask("flow_runs/filter", {"flows": {"name": {"any_": ["unlearn"]}}, "sort": "START_TIME_DESC"})

    def is_free(self) -> bool:
        """Whether no slot is taken but by runs that are at work."""
        try:
            limits = self.ask("v2/concurrency_limits/filter", {})
            at_work = [run for run in self.unlearn_runs() if run["state_type"] in ("PENDING", "RUNNING")]
            return sum(limit["active_slots"] for limit in limits if limit["active_slots"]) == len(at_work) == 0
        except OSError:
            return False


def wait_until(condition, what, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds: {what}"
        time.sleep(0.1)


@pytest.fixture
def night(prepared, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(prepared.folder, folder)
    file = folder / "prefect.yaml"
    declared = file.read_text()
    assert declared.count('"0 2 * * *"') == 1
    file.write_text(declared.replace('"0 2 * * *"', '"* * * * *"'))
    running = Night(folder, prepared.environment)
    yield running
    running.end()
    end(entry.process for entry in marked(running.home))


def test_whatever_is_killed_the_batch_ends_as_if_nothing_had_happened(night, unbroken):
    told = []
    for count, kill in enumerate(islice(cycle(KINDS), KILLS)):
        told.append(night.kill(kill, count * len(STEPS) // KILLS))
        print(time.strftime("%H:%M:%S"), told[-1], flush=True)
    wait_until(night.has_ended, "the batch ends", 900)
    wait_until(night.is_free, "the slot is free", 600)
    assert outcome(night.folder) == unbroken, told
    assert sum("had ended" in line for line in told) <= KILLS // 4, told
    before = len(night.unlearn_runs())
    wait_until(
        lambda: len([run for run in night.unlearn_runs() if run["state_name"] == "NothingToDo"]) > 0,
        "a quiet tick",
        300,
    )
    assert len(night.unlearn_runs()) >= before
