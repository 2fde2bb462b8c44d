"""A study's cells as runs of one experiment. Knows nothing of how they were measured."""

from typing import TYPE_CHECKING

from tasks.registry.connection import client, experiment_id
from tasks.report.review import numbers
from tasks.sets import UNLEARNED
from tasks.study.measuring import Cell
from tasks.study.plan import StudyPlan
from unilogit.files import sha256_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG = "study.cell"


def log_cell(plan: StudyPlan, method: str, seed: int, cell: Cell) -> None:
    """A run in the study's experiment, unless it is there: settings, every metric, the gates that failed.

    Raises:
        TemporaryError: MLflow's server does not answer.
    """
    from mlflow.entities import Metric, Param
    from mlflow.utils.time import get_current_time_millis

    digest = sha256_json(cell["settings"])[:8]
    store, now = client(), get_current_time_millis()
    experiment, tag = (
        experiment_id(store, f"study: {plan.name}"),
        f"{plan.folder.name}, {method}, {seed}, {digest}",
    )
    if _is_logged(store, experiment, tag):
        return
    tags = {_TAG: tag, "gates.failed": ", ".join(cell["failed"])}
    run = store.create_run(experiment, tags=tags, run_name=f"{method}, seed {seed}")
    values = {**numbers(cell["metrics"][UNLEARNED]), "seconds": cell["seconds"]}
    settings = dict(setting.split("=", 1) for setting in cell["settings"])
    store.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, now, 0) for name, value in values.items() if value is not None],
        params=[Param(name, value) for name, value in {"method": method, "seed": str(seed), **settings}.items()],
    )
    store.set_terminated(run.info.run_id)


def _is_logged(store: "MlflowClient", experiment: str, tag: str) -> bool:
    """Whether the run is whole; what a kill left of it is deleted."""
    whole = False
    for run in store.search_runs([experiment], f"tags.`{_TAG}` = '{tag}'"):
        if run.info.status == "FINISHED":
            whole = True
        else:
            store.delete_run(run.info.run_id)
    return whole
