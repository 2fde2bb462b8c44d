"""What Prefect says of the runs of this home's work pool. Only asks; knows nothing of why."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.processes import Marked

POOL = "unilogit"
HEARTBEAT = 30  # seconds between a run's signs of life, the least that Prefect allows
SILENCE = 120  # seconds without one, after which a run has crashed
HEARTBEAT_EVENT = "prefect.flow-run.heartbeat"
GRACE = timedelta(seconds=60)  # that a run may be without a process, or a process without a run
_POOL = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))


@contextmanager
def prefect_client(api: str) -> Iterator[SyncPrefectClient]:
    """A client that does not insist when the server does not answer."""
    with (
        temporary_settings({PREFECT_API_URL: api, PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(httpx_settings={"timeout": 30}, sync_client=True) as client,
    ):
        yield client


def age(run: FlowRun) -> timedelta:
    """How long the run has been in its state."""
    assert run.state is not None
    return datetime.now(UTC) - run.state.timestamp


def has_process(run: FlowRun, processes: list[Marked]) -> bool:
    """Whether one of the processes works for the run."""
    return any(entry.flow_run == str(run.id) or str(entry.process.pid) == run.infrastructure_pid for entry in processes)


def runs_at_work(client: SyncPrefectClient) -> list[FlowRun]:
    """The runs that Prefect believes to be at work."""
    return _runs(client, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


def late_runs(client: SyncPrefectClient, delay: timedelta) -> list[FlowRun]:
    """The runs that should have begun longer than a `delay` ago."""
    due = FlowRunFilterExpectedStartTime(before_=datetime.now(UTC) - delay)
    return _runs(client, StateType.SCHEDULED, due=due)


def _runs(
    client: SyncPrefectClient, *states: StateType, due: FlowRunFilterExpectedStartTime | None = None
) -> list[FlowRun]:
    wanted = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))
    runs = FlowRunFilter(state=wanted, expected_start_time=due)
    return client.read_flow_runs(flow_run_filter=runs, work_pool_filter=_POOL)


def last_run(client: SyncPrefectClient, flow: str) -> FlowRun | None:
    """The run of a flow that ended last."""
    ended = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
    runs = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
        flow_run_filter=FlowRunFilter(state=ended),
        work_pool_filter=_POOL,
        sort=FlowRunSort.END_TIME_DESC,
        limit=1,
    )
    return runs[0] if runs else None


def silent_runs(client: SyncPrefectClient, runs: list[FlowRun]) -> set[UUID]:
    """Which of the runs have been running for longer than SILENCE and gave no sign of life meanwhile."""
    begin = datetime.now(UTC) - timedelta(seconds=SILENCE)
    wanted = EventFilter(event=EventNameFilter(name=[HEARTBEAT_EVENT]), occurred=EventOccurredFilter(since=begin))
    heard = {event.resource.id for event in client.read_events(wanted, limit=50).events}
    running = [run for run in runs if run.state_type is StateType.RUNNING and age(run) > timedelta(seconds=SILENCE)]
    return {run.id for run in running if f"prefect.flow-run.{run.id}" not in heard}


def taken_slots(client: SyncPrefectClient) -> Iterator[tuple[str, int, int]]:
    """(Name of the limit, slots taken, runs at work) of each deployment that has a limit."""
    runs = runs_at_work(client)
    for deployment in client.read_deployments(work_pool_filter=_POOL):
        if (limit := deployment.global_concurrency_limit) is not None:
            yield limit.name, limit.active_slots, sum(run.deployment_id == deployment.id for run in runs)


def workers_online(client: SyncPrefectClient) -> int:
    """How many workers of the pool give signs of life."""
    return sum(worker.status == "ONLINE" for worker in client.read_workers_for_work_pool(POOL))
