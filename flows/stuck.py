"""What Prefect believes of the runs of this home, held against the processes that there are, and set right.

A killed process cannot tell Prefect, so that its run goes on for ever in Prefect's eyes and keeps the only slot; and a
process that was stopped for long may come back after its run was given up. Takes it that the work pool is worked by
this machine alone, as that of `unilogit up` is; for workers of other machines there are the heartbeats
(`flows.deployments`), which need no process to be looked at.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.processes import end, marked
from flows.runs import GRACE, age, has_process, runs_at_work, taken_slots

LEASE = 360  # seconds for which a slot may be taken by no run: Prefect takes it back after 300


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
        runs = runs_at_work(client)
        processes = marked(self._home)
        for run in runs:
            if has_process(run, processes) or age(run) < grace:
                continue
            if run.state_type is StateType.CANCELLING:
                client.set_flow_run_state(run.id, Cancelled(message="cancelled; its process was gone already"))
            else:
                client.set_flow_run_state(run.id, Crashed(message="its process is gone; the next run goes on"))
            self._say(f"run {run.name} had no process any more: given up; the next one goes on")

    def _end_processes_of_ended_runs(self, client: SyncPrefectClient) -> None:
        """A run that was given up may have a process all the same: stopped, or unable to reach the server."""
        processes = [entry for entry in marked(self._home) if entry.flow_run]
        for name in {str(entry.flow_run) for entry in processes}:
            try:
                run = client.read_flow_run(UUID(name))
            except ObjectNotFound:
                continue
            if run.state is not None and run.state.is_final() and age(run) > GRACE:
                end(entry.process for entry in processes if entry.flow_run == name)
                self._say(f"run {run.name} is {run.state.name}, but its processes were still there: ended")

    def _free_slots(self, client: SyncPrefectClient) -> None:
        """Prefect takes slots back when their leases expire; this is for leases that were lost."""
        now = time.monotonic()
        idle = {name: runs for name, slots, runs in taken_slots(client) if slots > runs}
        self._idle_slots = {name: self._idle_slots.get(name, now) for name in idle}
        for name, begin in self._idle_slots.items():
            if now - begin > LEASE:
                client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=idle[name]))
                self._say(f"a slot of {name} was taken by no run: freed")
