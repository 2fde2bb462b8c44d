"""Where MLflow keeps runs and models, and whether it answers.

Knows nothing of what a run or a version holds. MLflow is imported inside functions: it takes seconds.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from tasks.registry.artifacts import ROOT, is_server, resolve_artifacts
from tasks.workspace import mlflow_database, use_home
from unilogit.errors import InputError, TemporaryError
from unilogit.files import atomic_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_PATIENCE = 4  # seconds for a server to answer that it is there; it is asked twice


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or SQLite in UNILOGIT_HOME."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{mlflow_database()}"


def client(uri: str | None = None) -> "MlflowClient":
    """A client of the runs and the registry at `uri`, which is `tracking_uri()` when not given.

    Raises:
        TemporaryError: it is a server, and does not answer.
    """
    use_home()
    from mlflow import MlflowClient

    uri = uri or tracking_uri()
    if is_server(uri):
        _reach(uri)
    elif uri.startswith(_SQLITE):
        make_database(Path(uri.removeprefix(_SQLITE)))
    resolve_artifacts()
    return MlflowClient(uri, uri)


def reach() -> None:
    """See to it that what needs the registry later on need not be begun in vain.

    Raises:
        TemporaryError: it is on a server, and that does not answer.
    """
    client()


def _reach(uri: str) -> None:
    """Ask a server for a sign of life, and not for long: MLflow's own client would wait for minutes."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    server = get_default_host_creds(uri)
    try:
        answer = http_request(server, "/health", "GET", timeout=_PATIENCE, max_retries=1, raise_on_status=False)
    except MlflowException as error:
        raise _silent(uri, _innermost(error)) from None
    if answer.status_code >= 500:
        raise _silent(uri, f"{answer.status_code} {answer.reason}")


def _silent(uri: str, reason: str) -> TemporaryError:
    parts = urlsplit(uri)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a password
    return TemporaryError(
        f"MLflow at {address} does not answer ({reason}); `unilogit up` starts one, MLFLOW_TRACKING_URI names another"
    )


def _innermost(error: BaseException) -> str:
    """What the system said, of all that libraries wrapped around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error) or type(error).__name__


def make_database(file: Path) -> None:
    """Make MLflow's database where there is none, whole or not at all.

    MLflow's own migrations are hundreds of commits, and what a kill leaves of them in an SQLite file cannot be gone on
    from.
    """
    if file.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if file.exists():  # another process was faster
            return
        for left in file.parent.glob(f".{file.name}.*"):  # of a killed one
            left.unlink()
        with atomic_path(file) as temporary:
            temporary.unlink()  # an empty file would be taken for a database
            SqlAlchemyStore(f"{_SQLITE}{temporary}", ROOT)


@contextmanager
def connect(uri: str | None = None) -> Iterator["MlflowClient"]:
    """`client(uri)`, whose store also is the process's current one meanwhile, for MLflow's plain functions.

    Raises:
        TemporaryError: it is a server, and does not answer, or does not do so any more.
    """
    connected = client(uri)
    import mlflow
    from mlflow.exceptions import MlflowException, RestException

    environment = os.environ.get("MLFLOW_TRACKING_URI")  # MLflow says there, too, which one is current
    mlflow.set_tracking_uri(connected.tracking_uri)
    try:
        yield connected
    except MlflowException as error:
        if isinstance(error, RestException) or not str(error).startswith("API request to "):
            raise
        raise _silent(connected.tracking_uri, _innermost(error)) from error
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        if environment is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = environment


def experiment_id(store: "MlflowClient", name: str) -> str:
    """The id of an experiment, which is made when there is none.

    A server says where it keeps the artifacts of a new one; without a server they are where `unilogit up` serves them.

    Raises:
        InputError: the experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    experiment = store.get_experiment_by_name(name)
    if experiment is None:
        try:
            return _create_experiment(store, name)
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


def _create_experiment(store: "MlflowClient", name: str) -> str:
    if is_server(store.tracking_uri):
        return str(store.create_experiment(name))
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return str(SqlAlchemyStore(store.tracking_uri, ROOT).create_experiment(name))
