"""Where MLflow keeps runs and models, and the champion that the next batch starts from.

Knows nothing of what a run or a version holds; that is tasks/register.py. MLflow is imported inside functions.
"""

import ipaddress
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.home import home, use_home
from unilogit.errors import InputError
from unilogit.files import atomic_folder, sha256_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CANDIDATE = "candidate"


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


def experiment_id(name: str, uri: str | None = None) -> str:
    """The id of an experiment, which is made when there is none.

    A new one keeps its artifacts in UNILOGIT_HOME/mlartifacts unless the store is a server elsewhere, so that
    what a server on this machine shows and what a step reads without a server are the same files.

    Raises:
        InputError: the experiment was deleted.
    """
    store = client(uri)
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


def champion_model(registered_model: str, download_to: Path, uri: str | None = None) -> tuple[Path, str] | None:
    """Fetch the version with alias `champion`; one that was fetched before and is intact is not fetched again.

    Args:
        download_to: the folder to fetch into, replaced as a whole.

    Returns:
        A Hugging Face folder with model and tokenizer (inside `download_to`) and the version; None when no
        version is champion.

    Raises:
        InputError: the version holds no transformers model, or its weights are not the registered ones.
    """
    with connect(uri) as store:
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            champion = store.get_model_version_by_alias(registered_model, CHAMPION)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        version, registered = str(champion.version), champion.tags.get("weights_sha256")
        model = download_to / "model"
        if registered and sha256_weights(model) == registered:
            return model, version
        with atomic_folder(download_to) as folder:
            mlflow.artifacts.download_artifacts(f"models:/{registered_model}/{version}", dst_path=str(folder))
            _gather_tokenizer(folder, f"{registered_model} version {version}")
            if registered and sha256_weights(folder / "model") != registered:
                raise InputError(
                    f"{registered_model} version {version}: its weights are not those that were registered"
                    " (tag weights_sha256); give alias champion to another version or register it again"
                )
        return model, version


def _gather_tokenizer(folder: Path, name: str) -> None:
    """Put the tokenizer, which MLflow keeps apart, beside the weights."""
    if not (folder / "model" / "config.json").is_file():
        raise InputError(
            f"{name}: not a transformers model; log it with mlflow.transformers.log_model or choose another champion"
        )
    tokenizer = folder / "components" / "tokenizer"
    if tokenizer.is_dir():
        shutil.copytree(tokenizer, folder / "model", dirs_exist_ok=True)
