"""Where MLflow keeps runs and models.

Knows nothing of what a run or a version holds. MLflow is imported inside functions: it takes seconds.
"""

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from tasks.workspace import home, mlflow_database, use_home
from unilogit.errors import InputError
from unilogit.files import atomic_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or SQLite in UNILOGIT_HOME."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{mlflow_database()}"


def client(uri: str | None = None) -> "MlflowClient":
    """A client of the runs and the registry at `uri`, which is `tracking_uri()` when not given."""
    use_home()
    from mlflow import MlflowClient

    uri = uri or tracking_uri()
    if uri.startswith(_SQLITE):
        make_database(Path(uri.removeprefix(_SQLITE)))
    return MlflowClient(uri, uri)


def make_database(file: Path) -> None:
    """Make MLflow's database where there is none, whole or not at all.

    MLflow's own migrations are hundreds of commits, and what a kill leaves of them in an SQLite file cannot be gone on
    from.
    """
    if file.exists():
        return
    from mlflow import MlflowClient

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if file.exists():  # another process was faster
            return
        for left in file.parent.glob(f".{file.name}.*"):  # of a killed one
            left.unlink()
        with atomic_path(file) as temporary:
            temporary.unlink()  # an empty file would be taken for a database
            uri = f"{_SQLITE}{temporary}"
            MlflowClient(uri, uri).search_registered_models(max_results=1)


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
