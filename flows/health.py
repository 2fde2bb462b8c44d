"""What is stuck or waits for a person, and what to type; the second half of `unilogit doctor`.

Only looks: `unilogit up` sets right what can be without a person (`flows.stuck`), and needs no command for it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil

from flows.processes import marked
from tasks.doctor import Finding, answers
from tasks.requests.batches import open_ledger
from tasks.workspace import home, ledger_location

_LATE = timedelta(minutes=10)  # after which a run that is due should have begun
_COUNTED = 1000  # of the late requests


def findings(api: str) -> Iterator[Finding]:
    """What there is to say; what Prefect knows only if it answers.

    Args:
        api: of Prefect.
    """
    supervisor = holder(home() / "up.lock")
    yield from _processes(supervisor)
    location = ledger_location()
    if not isinstance(location, Path) or location.exists():
        yield from _requests(supervisor is not None)
    if answers(f"{api}/health"):
        try:
            yield from _runs(api, supervisor is not None)
        except httpx.HTTPError as error:
            yield Finding("runs", f"Prefect does not tell ({error})", "set PREFECT_API_AUTH_STRING if it asks for one")


def holder(lock: Path) -> psutil.Process | None:
    """The process that holds a lock of this home. The lock itself is left alone: a run may be about to take it."""
    for process in psutil.process_iter():
        try:
            if any(file.path == str(lock) for file in process.open_files()):
                return process
        except (psutil.Error, OSError):  # another user's, or ended meanwhile
            continue
    return None


def _processes(supervisor: psutil.Process | None) -> Iterator[Finding]:
    if supervisor is not None:
        yield Finding("unilogit up", f"runs (process {supervisor.pid})")
    elif orphans := [str(entry.process.pid) for entry in marked(home())]:
        kill = f"`unilogit up` ends them and starts anew; or `kill {' '.join(orphans)}`"
        yield Finding("unilogit up", f"is gone, but {len(orphans)} of its processes are not", kill)
    else:
        yield Finding("unilogit up", "does not run; schedules wait for it (not needed by `unilogit run`)")
    worker = holder(home() / "unlearn.lock")
    if worker is None:
        yield Finding("unlearning", "nothing is at work")
    elif worker.status() == psutil.STATUS_STOPPED:
        remedy = f"`kill -CONT {worker.pid}` lets it go on; `kill -KILL {worker.pid}` leaves it to the next run"
        yield Finding("unlearning", f"process {worker.pid} is stopped, and keeps others from working", remedy)
    else:
        yield Finding("unlearning", f"process {worker.pid} is at work")


def _requests(is_up: bool) -> Iterator[Finding]:
    with open_ledger() as ledger:
        batches, counts = ledger.batches(), ledger.counts()
        late = sum(1 for _ in ledger.overdue(datetime.now(UTC), timedelta(0), limit=_COUNTED))
    for batch in batches:
        if batch.finished_at is None:
            told = f"open since {batch.opened_at:%Y-%m-%d %H:%M}, taken up {batch.attempts} times"
            nobody = not is_up and holder(home() / "unlearn.lock") is None
            yield Finding(f"batch {batch.batch_id}", told, "`unilogit run` takes it up" if nobody else "")
    for count, name, remedy in (
        (late, "late", "`unilogit requests overdue`"),
        (counts["held"], "held", "`unilogit requests list --state held`, then approve or reject"),
        (counts["failed"], "failed", "change `unlearn` in params.yaml, then `unilogit run --retry-failed`"),
    ):
        if count:
            yield Finding(f"requests {name}", f"{count}{' or more' * (count == _COUNTED)}", remedy)


def _runs(api: str, is_up: bool) -> Iterator[Finding]:
    from flows import runs as prefect

    remedy = "" if is_up else "`unilogit up` sets it right"
    soon = ", and is given up within minutes" if is_up else ""
    with prefect.prefect_client(api) as client:
        processes = marked(home())
        runs = prefect.runs_at_work(client)
        silent = prefect.silent_runs(client, runs)
        for run in runs:
            if not prefect.has_process(run, processes) and prefect.age(run) > prefect.GRACE:
                yield Finding(f"run {run.name}", f"has no process{soon}", remedy)
            elif run.id in silent:
                yield Finding(f"run {run.name}", f"gives no sign of life{soon}", remedy)
            else:
                yield Finding(f"run {run.name}", f"{run.state_name} for {prefect.age(run).seconds // 60} minutes")
        for name, slots, count in prefect.taken_slots(client):
            if slots > count:
                yield Finding(f"slot of {name}", "is taken by no run, which passes within 6 minutes", remedy)
        if waiting := prefect.late_runs(client, _LATE):
            paused = "see in Prefect whether something is paused"
            yield Finding("schedule", f"{len(waiting)} runs should have begun", remedy or paused)
        if not prefect.workers_online(client):
            yield Finding("worker", "none is online", remedy)
        last = prefect.last_run(client, "unlearn")
        if last is not None and last.state is not None and not last.state.is_completed():
            message = " ".join((last.state.message or "").splitlines()[:1])
            yield Finding("last unlearn run", f"{last.state.name}: {message}", f"`prefect flow-run logs {last.id}`")
