"""Do some work in this process and list every write under UNILOGIT_HOME; kill the process at one of them if told to.

    python killed_flow.py WORK LOG [NUMBER]

WORK is `unlearn`, `reconcile` or `purge`, each the flow of that name; or `extract`: what the flow unlearn does up to
the extraction, whose outcome it tells the ledger.

Files are seen by Python's audit events (opening for writing, renaming, linking, removing, making folders), databases
by their commits. LOG gets a line a write; at the write NUMBER (from 0) the process kills itself, before it is done.
Prefect's own state is left out: it is no part of what a run keeps. So is what threads log by the clock.
"""

import os
import signal
import sys
import threading
from pathlib import Path

HOME = Path("var").absolute()
LEFT_OUT = (str(HOME / "prefect"), str(HOME / "unlearn.lock"), str(HOME / "example"))
BY_THE_CLOCK = ("live run", "SystemMetricsMonitor")  # names of threads
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Counter:
    """Notes writes, and kills at one of them."""

    def __init__(self, log: int, number: int | None) -> None:
        self.log, self.number, self.count, self.busy = log, number, 0, False

    def note(self, event: str, path: object) -> None:
        if self.busy or not isinstance(path, str | os.PathLike):
            return
        if threading.current_thread().name.startswith(BY_THE_CLOCK):
            return
        name = str(Path(path).absolute()) if event != "commit" or Path(path).suffix else f"{HOME}/{path}"
        if not name.startswith(str(HOME)) or name.startswith(LEFT_OUT) or name.endswith((".pyc", "-journal", "-wal")):
            return
        self.busy = True
        if self.count == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        os.write(self.log, f"{event} {name.removeprefix(str(HOME))}\n".encode())
        self.busy = False

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(int(flags) & WRITING)
            if writes:
                self.note("open", path)
        elif event in WRITES:
            self.note(event, arguments[0])


def unlearn() -> int:
    from flows.unlearn import run_in_process

    return run_in_process(None, PARAMS)


def extract() -> int:
    from tasks.params import load_params
    from tasks.requests.batches import one_run_at_a_time, record_extraction, take_batch, take_in_new
    from tasks.steps import load_step

    params = load_params(PARAMS)
    with one_run_at_a_time():
        take_in_new(str(params.data.requests), params, "run")
        batch = take_batch(params, False, "run")
        assert batch
        load_step("validate").run(batch.workspace, params, once=True)
        record_extraction(batch, load_step("extract").run(batch.workspace, params, once=True).result, "run")
    return 0


def reconcile() -> int:
    from flows.reconcile import reconcile_in_process

    return reconcile_in_process(PARAMS)


def purge() -> int:
    from flows.purge import purge_in_process

    return purge_in_process(PARAMS)


PARAMS = Path("params.yaml")
WORK = {work.__name__: work for work in (unlearn, extract, reconcile, purge)}


def main() -> int:
    work, file, *numbers = sys.argv[1:]
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    counter = Counter(log, int(numbers[0]) if numbers else None)

    import sqlalchemy as sa

    @sa.event.listens_for(sa.engine.Engine, "commit")
    def commit(connection: sa.Connection) -> None:
        counter.note("commit", connection.engine.url.database)

    sys.addaudithook(counter.audit)
    return WORK[work]()


if __name__ == "__main__":
    sys.exit(main())
