"""What Prefect believes of the runs of this home, held against the processes that there are.

A killed process cannot tell Prefect, so that its run goes on for ever in Prefect's eyes and keeps the only slot; and a
process that was stopped for long may come back after its run was given up. Both are found here and set right. Takes it
that the work pool is worked by this machine alone, as that of `unilogit up` is; worker pools of other machines have the
heartbeats (`flows.deployments`), which need no process to be looked at.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Crashed

from flows.processes import Marked, end, marked

POOL = "unilogit"
GRACE = timedelta(seconds=60)  # that a run may be without a process, or a process without a run
LEASE = 360  # seconds for which a slot may be taken by no run: Prefect takes it back after 300
_AT_WORK = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_POOL = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))


@contextmanager
def prefect_client(api: str) -> Iterator[SyncPrefectClient]:
    """A client that says at once when the server does not answer."""
    with (
        temporary_settings({PREFECT_API_URL: api, PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings={"timeout": 10}, sync_client=True) as client,
    ):
        yield client


def runs_at_work(client: SyncPrefectClient) -> list[FlowRun]:
    """The runs that Prefect believes to be at work."""
    states = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_AT_WORK)))
    return client.read_flow_runs(flow_run_filter=states, work_pool_filter=_POOL)


def has_process(run: FlowRun, processes: list[Marked]) -> bool:
    """Whether one of the processes works for the run."""
    return any(entry.flow_run == str(run.id) or str(entry.process.pid) == run.infrastructure_pid for entry in processes)


def taken_slots(client: SyncPrefectClient) -> Iterator[tuple[str, int, int]]:
    """(Name of the limit, slots taken, runs at work) of each deployment that has a limit."""
    runs = runs_at_work(client)
    for deployment in client.read_deployments(work_pool_filter=_POOL):
        if (limit := deployment.global_concurrency_limit) is not None:
            yield limit.name, limit.active_slots, sum(run.deployment_id == deployment.id for run in runs)


class Janitor:
    """Sets right what is stuck.

    Args:
        home: whose processes are looked at.
        say: tells what was done.
    """

    def __init__(self, home: Path, say: Callable[[str], None]) -> None:
        self._home, self._say = home, say
        self._idle_slots: dict[str, float] = {}  # limit → since when a slot of it is taken by no run

    def tidy(self, client: SyncPrefectClient, grace: timedelta = GRACE) -> None:
        """One look at runs, processes and slots. Can be repeated, and ended at any instant.

        Args:
            grace: how long a run may be without a process; none when no worker is there to start one.
        """
        self._give_up_lost_runs(client, grace)
        self._end_processes_of_ended_runs(client)
        self._free_slots(client)

    def _give_up_lost_runs(self, client: SyncPrefectClient, grace: timedelta) -> None:
        processes = marked(self._home)
        for run in runs_at_work(client):
            if run.state is None or has_process(run, processes) or _age(run) < grace:
                continue
            if run.state.type is StateType.CANCELLING:
                client.set_flow_run_state(run.id, Cancelled(message="cancelled; its process was gone already"))
            else:
                client.set_flow_run_state(run.id, Crashed(message="its process is gone; the next run goes on"))
            self._say(f"run {run.name} had no process any more: given up; the next one goes on")

    def _end_processes_of_ended_runs(self, client: SyncPrefectClient) -> None:
        """A run that was given up may have a process all the same: stopped, or unable to reach the server."""
        processes = [entry for entry in marked(self._home) if entry.flow_run]
        for name in {str(entry.flow_run) for entry in processes}:
            try:
                run = client.read_flow_run(name)  # type: ignore[arg-type]  # it is put into the URL
            except ObjectNotFound:
                continue
            if run.state is not None and run.state.is_final() and _age(run) > GRACE:
                end(entry.process for entry in processes if entry.flow_run == name)
                self._say(f"run {run.name} is {run.state.name}, but its processes were still there: ended")

    def _free_slots(self, client: SyncPrefectClient) -> None:
        """Prefect takes slots back when their leases expire; this is for leases that were lost."""
        now = time.monotonic()
        idle = {name: runs for name, slots, runs in taken_slots(client) if slots > runs}
        self._idle_slots = {name: self._idle_slots.get(name, now) for name in idle}
        for name, since in self._idle_slots.items():
            if now - since > LEASE:
                client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=idle[name]))
                self._say(f"a slot of {name} was taken by no run: freed")


def _age(run: FlowRun) -> timedelta:
    assert run.state is not None
    return datetime.now(UTC) - run.state.timestamp
