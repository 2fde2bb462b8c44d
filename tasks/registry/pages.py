"""Where a browser shows a run and its version: pages of the MLflow server, if there is one. Knows addresses only."""

from pathlib import Path

from tasks.registry.connection import client, tracking_uri
from tasks.workspace import Place, Registration


def is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def run_page(uri: str, experiment: str, run: str) -> str:
    return f"{uri.rstrip('/')}/#/experiments/{experiment}/runs/{run}"


def version_page(uri: str, name: str, version: str) -> str:
    return f"{uri.rstrip('/')}/#/models/{name}/versions/{version}"


def pages(registration: Registration) -> dict[str, str]:
    """What is shown → its address; empty without a server."""
    uri = tracking_uri()
    if not is_server(uri):
        return {}
    info = client().get_run(registration.run_id).info
    run = run_page(uri, info.experiment_id, info.run_id)
    return {
        "version": version_page(uri, registration.registered_model, registration.version),
        "run": run,
        "report": f"{run}/artifacts/{Path(Place.LOGGED_REPORT).name}",
    }
