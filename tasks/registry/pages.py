"""Where a browser shows a version, its run and its report: pages of the MLflow server, if there is one."""

from pathlib import Path

from tasks.registry.artifacts import is_server
from tasks.registry.connection import client, tracking_uri
from tasks.registry.live import run_route
from tasks.workspace import Place, Registration


def pages(registration: Registration) -> dict[str, str]:
    """What is shown → its address; empty without a server.

    Raises:
        TemporaryError: the server does not answer.
    """
    address = tracking_uri().rstrip("/")
    if not is_server(address):
        return {}
    run = client().get_run(registration.run_id).info
    page = f"{address}/{run_route(run.experiment_id, run.run_id)}"
    return {
        "version": f"{address}/#/models/{registration.registered_model}/versions/{registration.version}",
        "run": page,
        "report": f"{page}/artifacts/{Path(Place.LOGGED_REPORT).name}",
    }
