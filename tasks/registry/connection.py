"""Where MLflow keeps runs and models.

Knows nothing of what a run or a version holds. MLflow is imported inside functions: it takes seconds.
"""

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.workspace import home, use_home
from unilogit.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or SQLite in UNILOGIT_HOME."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def client(uri: str | None = None) -> "MlflowClient":
    """A client of the runs and the registry at `uri`, which is `tracking_uri()` when not given."""
    use_home()
    from mlflow import MlflowClient

    uri = uri or tracking_uri()
    return MlflowClient(uri, uri)


@contextmanager
def connect(uri: str | None = None) -> Iterator["MlflowClient"]:
    """`client(uri)`, whose store also is the process's current one meanwhile, for MLflow's plain functions."""
    connected = client(uri)
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(connected.tracking_uri)
    try:
        yield connected
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


def experiment_id(store: "MlflowClient", name: str) -> str:
    """The id of an experiment, which is made when there is none.

    A new one keeps its artifacts in UNILOGIT_HOME/mlartifacts unless the store is a server elsewhere, so that
    what a server on this machine shows and what a step reads without a server are the same files.

    Raises:
        InputError: the experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    experiment = store.get_experiment_by_name(name)
    if experiment is None:
        location = (home() / "mlartifacts").as_uri() if _is_here(store.tracking_uri) else None
        try:
            return str(store.create_experiment(name, artifact_location=location))
        except MlflowException:
            experiment = store.get_experiment_by_name(name)  # another process was faster
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        number = experiment.experiment_id
        raise InputError(
            f"register.experiment = {name}: this experiment was deleted in MLflow; bring it back with"
            f" `mlflow experiments restore --experiment-id {number}` or choose another name"
        )
    return str(experiment.experiment_id)


def _is_here(uri: str) -> bool:
    """Whether the store is a database opened by this process or a server on loopback."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return True
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
