"""A project whose servers are started again whenever they end, and signals to its processes.

As a service manager would: a loop starts `unilogit up` again, and another PostgreSQL, where the databases are there.
"""

import json
import os
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from flows.processes import marked
from tests.e2e.test_kills import outcome
from tests.e2e.test_servers import free_ports
from tests.ledger.postgresql import Cluster
from unilogit.errors import InputError
from unilogit.files import write_text
from unilogit.ledger import Ledger

STEPS = ("validate", "extract", "store", "parent", "retain_model", "unlearn", "attack", "evaluate", "gate", "register")
FROZEN = 150  # seconds for which a stopped process stays so: longer than its silence may be
AGAIN = 'while true; do "$@"; sleep 1; done'


@dataclass(frozen=True)
class Kill:
    """A signal to a process; SIGSTOP is followed by SIGCONT."""

    target: str
    number: signal.Signals

    def __str__(self) -> str:
        return f"{self.number.name} to {self.target}"


class Database:
    """PostgreSQL as a service, with a database for each of Prefect, MLflow and the ledger."""

    def __init__(self, folder_of_programs: Path) -> None:
        self._cluster = Cluster(folder_of_programs)
        self._cluster.start()
        url = make_url(self._cluster.url)
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in ("prefect", "mlflow", "ledger"):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        self._cluster.stop()
        self.registry = url.set(database="mlflow").render_as_string()
        self.ledger = url.set(database="ledger").render_as_string()
        self.environment = {
            "UNILOGIT_LEDGER": self.ledger,
            "MLFLOW_BACKEND_STORE_URI": self.registry,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": url.set(
                drivername="postgresql+asyncpg", database="prefect"
            ).render_as_string(),
        }
        with open(self._cluster.folder / "service.log", "wb") as log:
            # The loop is that user's, too: what runs a command as another user freezes with it, and is not woken.
            command = [*self._cluster.as_user, "bash", "-c", AGAIN, "service", *self._cluster.server]
            self._service = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def process(self) -> psutil.Process | None:
        """The server's own, whose death is that of all its others; None while it does not run."""
        try:
            return psutil.Process(int((self._cluster.data / "postmaster.pid").read_text().split()[0]))
        except (psutil.Error, FileNotFoundError, ValueError, IndexError):
            return None

    def end(self) -> None:
        os.killpg(self._service.pid, signal.SIGKILL)
        self._service.wait()
        if process := self.process():
            process.kill()
        self._cluster.remove()


class Night:
    """A project whose `unilogit up` is started again whenever it ends."""

    def __init__(self, folder: Path, environment: dict[str, str], database: Database | None) -> None:
        self.home, self.database, self.batches = folder / "var", database, 1
        self.registry = database.registry if database else f"sqlite:///{self.home / 'mlflow.db'}"
        self.ledger = database.ledger if database else f"sqlite:///{self.home / 'ledger.db'}"
        ports, own = free_ports(), database.environment if database else {}
        self.api = f"http://127.0.0.1:{ports['UNILOGIT_PREFECT_PORT']}/api"
        with open(folder / "up.log", "wb") as log:
            self.service = subprocess.Popen(
                ["bash", "-c", AGAIN, "service", "unilogit", "up"],
                cwd=folder,
                env={**environment, **ports, **own},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self) -> None:
        os.killpg(self.service.pid, signal.SIGKILL)
        self.service.wait()
        wait_until(lambda: not marked(self.home), "the guard ends what is left", 60)

    def arrive(self) -> None:
        """Somebody else's request comes, which is the next batch."""
        put_request(self.home.parent, self.batches)
        self.batches += 1

    def outcome(self) -> tuple[list[str], int, dict[str, str]]:
        return outcome(self.home.parent, self.registry, self.ledger)

    def process(self, target: str) -> psutil.Process | None:
        """The one that a kill is for; None while it does not run."""
        if target == "postgresql":
            return self.database.process() if self.database else None
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
        """Whether the latest batch has finished this step."""
        workspaces = sorted(self.home.glob("runs/2*"))
        return len(workspaces) >= self.batches and (workspaces[-1] / ".stamps" / f"{step}.json").exists()

    def has_ended(self) -> bool:
        """Whether nothing that has arrived is open."""
        if not self.database and not (self.home / "ledger.db").exists():
            return False
        with suppress(OSError, sa.exc.OperationalError, InputError), Ledger(self.ledger) as ledger:
            batches = ledger.batches()
            return len(batches) >= self.batches and all(batch.finished_at is not None for batch in batches)
        return False  # a database that was killed is no end

    def kill(self, kill: Kill, step: int) -> str:
        """Wait until a batch has come to a step, and kill; what was done. Where none is open, the next one comes."""

        def ready() -> bool:
            if self.has_ended():
                self.arrive()
            begun = step == 0 or self.is_past(STEPS[step - 1])
            return begun and self.process("flow") is not None and self.process(kill.target) is not None

        wait_until(ready, f"{kill} at {STEPS[step]}", 900)
        if process := self.process(kill.target):
            process.send_signal(kill.number)
            if kill.number is signal.SIGSTOP:
                time.sleep(FROZEN)
                if process.is_running():  # otherwise it was replaced meanwhile
                    process.send_signal(signal.SIGCONT)
        done = [name for name in STEPS if self.is_past(name)]
        return f"{kill} in batch {self.batches}, after {done[-1] if done else 'nothing'}"

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


def put_request(folder: Path, number: int) -> None:
    """A file in the inbox: the next person of the example's of whom no request has come yet."""
    example = folder / "var" / "example"
    told = "".join(file.read_text() for file in (example / "requests").iterdir())
    rows = [json.loads(line) for line in (example / "corpus.jsonl").read_text().splitlines()]
    people = sorted({name for row in rows for name in row.get("subject_ids") or [] if name not in told})
    request = {"request_id": f"N-{number}", "received_at": "2026-03-04T12:00:00Z", "subject_id": people[0]}
    write_text(example / "requests" / f"night-{number}.jsonl", f"{json.dumps(request)}\n")


def wait_until(condition, what, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds: {what}"
        time.sleep(0.1)
