"""Where artifacts lie that are addressed as `mlflow-artifacts:`, with a server and without.

Such an address names neither a machine nor a folder, so that a state folder can be moved or copied. Without a server it
is a path in UNILOGIT_HOME/mlartifacts. A server resolves it to the store that it was started with: where that is this
very folder, as with `unilogit up`, files are read and written there, else through the server. MLflow is imported inside
functions.
"""

import secrets
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.workspace import home
from unilogit.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

SCHEME = "mlflow-artifacts"
ROOT = f"{SCHEME}:/"


def is_server(uri: str) -> bool:
    """Whether a tracking URI is a server's, and not a database's that this process opens itself."""
    return urlsplit(uri).scheme in ("http", "https")


def resolve_artifacts() -> None:
    """Let MLflow's clients in this process reach such artifacts without a server, too."""
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry

    _artifact_repository_registry.register(SCHEME, _repository)


def artifact_folder(address: str, tracking_uri: str) -> Path | None:
    """Where the artifacts at an address lie on this machine; None where they lie elsewhere."""
    parts = urlsplit(address)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path))
    if parts.scheme != SCHEME or (is_server(tracking_uri) and not _serves(tracking_uri, _root())):
        return None
    return _root() / unquote(parts.path).lstrip("/")


def _root() -> Path:
    return home() / "mlartifacts"


@cache
def _serves(server: str, folder: Path) -> bool:
    """Whether a server keeps its artifacts in this folder: it is asked for a file that was put there just now.

    Its address does not tell: a port of this machine may be forwarded to another one.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    if not folder.is_dir():  # serve.sh makes it
        return False
    file = folder / f"here-{secrets.token_hex(16)}"
    file.write_text(file.name)
    try:
        path = f"/api/2.0/mlflow-artifacts/artifacts/{file.name}"
        answer = http_request(get_default_host_creds(server), path, "GET", max_retries=0, raise_on_status=False)
    except MlflowException:
        return False
    finally:
        file.unlink()
    return answer.status_code == 200 and str(answer.text) == file.name


def _repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> "ArtifactRepository":
    """Called by MLflow with these names."""
    from mlflow import get_tracking_uri
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    store = tracking_uri or get_tracking_uri()
    if folder := artifact_folder(artifact_uri, store):
        return LocalArtifactRepository(folder.as_uri(), store, registry_uri)
    return MlflowArtifactsRepository(artifact_uri, store, registry_uri)


def check_artifacts_arrive(store: "MlflowClient", run: "Run", name: str) -> None:
    """Ask a server whether it has an artifact that was logged to it.

    A server that keeps artifacts in a folder without serving them tells clients the folder's name, and MLflow's client
    on another machine writes to a folder of that name there.

    Args:
        name: of an artifact in the run's own folder.

    Raises:
        InputError: it has none.
    """
    if not is_server(store.tracking_uri) or urlsplit(run.info.artifact_uri).scheme not in ("", "file"):
        return
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    server = get_default_host_creds(store.tracking_uri)
    answer = http_request(server, "/api/2.0/mlflow/artifacts/list", "GET", params={"run_id": run.info.run_id})
    if name not in {file["path"] for file in answer.json().get("files", [])}:
        raise InputError(
            f"MLflow's experiment {run.info.experiment_id} keeps its artifacts in {run.info.artifact_uri}, a folder of"
            " the server's machine that this machine does not share; start the server with --serve-artifacts and name"
            " another experiment in register.experiment"
        )
