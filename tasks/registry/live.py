"""A batch's MLflow run while the batch is worked on: what is logged meanwhile, and how it ends.

Losses and monitored metrics are followed in the workspace, where the training leaves them, and how busy the machine is
is measured: both in threads of their own. A server that does not answer meanwhile keeps nothing from going on: what did
not arrive is logged when the model is registered. MLflow is imported inside functions.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.curves import read_curves
from tasks.params import Params
from tasks.registry.connection import connect
from tasks.registry.datasets import log_datasets
from tasks.registry.points import live_points
from tasks.registry.run import FAILED, FINISHED, KILLED, end_run, open_run
from tasks.workspace import Place, Workspace
from unilogit.errors import TemporaryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)
SECONDS = 3.0  # from one look to the next
SYSTEM_SECONDS = 15  # from one measurement of the machine to the next
_PATIENCE = 10.0  # seconds for a thread to come to its end


class LiveRun:
    """The run of a batch that is worked on.

    Attributes:
        run_id: MLflow's.
        status: how it ends, as MLflow writes it.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id, self.status = run_id, FINISHED

    def put_back(self) -> None:
        """The batch does not come to its end: somebody withdrew."""
        self.status = KILLED


def run_route(experiment: str, run_id: str) -> str:
    """Of a run in the pages of any server: what follows its address."""
    return f"#/experiments/{experiment}/runs/{run_id}"


@contextmanager
def live_run(workspace: Workspace, params: Params) -> Iterator[LiveRun]:
    """Within, the batch of a workspace is worked on, by no other process, and its run is open.

    It ends as FINISHED, as FAILED after an error, as KILLED when it was put back, cancelled or interrupted.

    Raises:
        InputError: the experiment was deleted, or its artifacts do not arrive.
        TemporaryError: the server does not answer.
    """
    with connect() as store:
        run = open_run(store, workspace.root.name, params)
    live, follower = LiveRun(run.info.run_id), _Follower(store, run.info.run_id, workspace)
    follower.start()
    stop_measuring = _measure_system(store, live.run_id)
    try:
        yield live
    except Exception:
        live.status = FAILED
        raise
    except BaseException:
        live.status = KILLED
        raise
    finally:
        follower.finish()
        stop_measuring()
        _end(follower, live)


def _end(follower: "_Follower", live: LiveRun) -> None:
    from mlflow.exceptions import MlflowException

    try:
        with connect(follower.store.tracking_uri) as store:
            follower.look()
            end_run(store, live.run_id, live.status)
    except (MlflowException, TemporaryError) as error:  # an error of the batch itself is not to be hidden by this one
        print(f"warning: MLflow's run {live.run_id} could not be marked {live.status}: {error}")


def _measure_system(store: "MlflowClient", run_id: str) -> Callable[[], None]:
    """Begin to measure processor, memory, disk, network and GPU; a function that ends it."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, SYSTEM_SECONDS, 1, resume_logging=True, tracking_uri=store.tracking_uri)
    monitor.start()

    def stop() -> None:
        ending = threading.Thread(target=monitor.finish, daemon=True, name="live run's end")  # it waits for the server
        ending.start()
        ending.join(_PATIENCE)

    return stop


class _Follower(threading.Thread):
    """Logs the sets of a batch once they are there, and what is logged at each step soon after it was."""

    def __init__(self, store: "MlflowClient", run_id: str, workspace: Workspace) -> None:
        super().__init__(daemon=True, name="live run")
        self.store, self.run_id, self.workspace = store, run_id, workspace
        self.ended, self.logged, self.has_datasets = threading.Event(), 0, False

    def run(self) -> None:
        while not self.ended.wait(SECONDS):
            self.look()

    def finish(self) -> None:
        self.ended.set()
        self.join(_PATIENCE)

    def look(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            if not self.has_datasets and self.workspace.has(Place.DATA_POINTER):
                log_datasets(self.store, self.run_id, self.workspace)
                self.has_datasets = True
            entries = read_curves(self.workspace.path(Place.CURVES))
            if len(entries) != self.logged:  # fewer: the training was begun anew
                new = entries[self.logged :] if len(entries) > self.logged else entries
                self.store.log_batch(self.run_id, live_points(new))
                self.logged = len(entries)
        except MlflowException as error:
            log.info("what is logged at each step did not arrive (%s); it is tried again", error)
