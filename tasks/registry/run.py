"""A workspace as one MLflow run: opened with the batch and resumed with it, completed when it is registered, ended.

A run is found again by its tags: `opening` names batch and params, `registration` what was made of them. What is
missing of it is logged: a call after a kill completes it. Prompts, answers and people stay in the workspace, unless
`register.log_generations` let generations into the logged report. MLflow is imported inside functions.
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from tasks.params import Params
from tasks.registry.artifacts import check_artifacts_arrive
from tasks.registry.connection import experiment_id
from tasks.registry.datasets import log_datasets
from tasks.registry.logged_model import log_model
from tasks.registry.points import param_points, run_points
from tasks.registry.versions import REGISTRATION
from tasks.workspace import Extraction, Place, Workspace, run_folder
from unilogit.files import sha256_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OPENING, KILLS = "opening", "kills"  # tags of a run
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"  # how MLflow writes a run's status
_PARAMS = "params.yaml"  # an artifact


def opening_tags(batch_id: str, params: Params) -> dict[str, str]:
    """What is known of a run before anything is done."""
    canonical = json.dumps(params.as_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    params_md5 = hashlib.md5(canonical.encode(), usedforsecurity=False).hexdigest()
    return {
        OPENING: sha256_json([batch_id, params_md5]),
        "batch_id": batch_id,
        "git_commit": git_commit(),
        "unilogit_version": installed_version("unilogit"),
        "params_md5": params_md5,
    }


def git_commit() -> str:
    """The commit of the current folder, with "+changes" when tracked files differ; empty without git."""
    describe = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def open_run(store: "MlflowClient", batch_id: str, params: Params) -> "Run":
    """The run of a batch, which is running from now on; call it while no other process works on batches of this home.

    A batch that is taken up again with the same params goes on with its run, and how often it was killed is marked.
    Another run of this home that was left running was killed, and is said to be.

    Raises:
        InputError: the experiment was deleted, or its artifacts do not arrive.
    """
    number = experiment_id(store, params.register_.experiment)
    tags = opening_tags(batch_id, params)
    runs = store.search_runs([number], f"tags.{OPENING} = '{tags[OPENING]}'", order_by=["attributes.start_time DESC"])
    run = runs[0] if runs else store.create_run(number, tags=tags, run_name=batch_id)
    run_id = run.info.run_id
    for left in store.search_runs([number], f"attributes.status = '{RUNNING}'"):
        if left.info.run_id != run_id and _is_of_this_home(left):
            store.set_terminated(left.info.run_id, KILLED)
    if runs and run.info.status == RUNNING:
        store.set_tag(run_id, KILLS, str(int(run.data.tags.get(KILLS, "0")) + 1))
    store.update_run(run_id, RUNNING)
    store.log_batch(run_id, params=param_points(params))
    store.log_dict(run_id, params.shown(), _PARAMS)
    check_artifacts_arrive(store, run, _PARAMS)
    return run


def _is_of_this_home(run: "Run") -> bool:
    batch_id = run.data.tags.get("batch_id", "")
    return batch_id != "" and run_folder(batch_id).is_dir()


def end_run(store: "MlflowClient", run_id: str, status: str) -> None:
    """Say how a run ended; one that registered a model and came to its end has said so."""
    if status != FINISHED or store.get_run(run_id).info.status == RUNNING:
        store.set_terminated(run_id, status)


def find_or_create_run(store: "MlflowClient", experiment: str, tags: Mapping[str, str]) -> "Run":
    """The run of what is to be registered: that of an earlier call, that which its batch opened, or a new one.

    Args:
        experiment: its name.
        tags: of the run; `registration` and `opening` are how it is found, `batch_id` is its name.

    Raises:
        InputError: the experiment was deleted.
    """
    from mlflow.entities import RunTag

    number = experiment_id(store, experiment)
    if runs := store.search_runs([number], f"tags.{REGISTRATION} = '{tags[REGISTRATION]}'", max_results=1):
        return runs[0]
    for run in store.search_runs([number], f"tags.{OPENING} = '{tags[OPENING]}'"):
        if REGISTRATION not in run.data.tags:
            store.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in tags.items()])
            return run
    return store.create_run(number, tags=dict(tags), run_name=tags["batch_id"])


def complete_run(store: "MlflowClient", run: "Run", workspace: Workspace, params: Params) -> str:
    """Log what is missing of a run; its logged model's id.

    Repeating changes nothing: a metric keeps the time at which it was logged first.
    """
    run_id = run.info.run_id
    log_datasets(store, run_id, workspace)
    store.log_batch(run_id, run_points(workspace, run.info.start_time), param_points(params))
    for picture in sorted(workspace.path(Place.PLOTS).glob("*.png")):
        store.log_artifact(run_id, str(picture), Place.PLOTS)
    for place in (Place.LOGGED_REPORT, Place.GATES, Place.METRICS):
        store.log_artifact(run_id, str(workspace.path(place)))
    store.log_dict(run_id, params.shown(), _PARAMS)
    store.log_dict(run_id, _counts(workspace), Path(Place.EXTRACTION).name)
    model_id = log_model(store, run, workspace, params)
    store.set_terminated(run_id)
    return model_id


def _counts(workspace: Workspace) -> dict[str, int]:
    """What was extracted in numbers; its lists hold ids of requests."""
    extraction: dict[str, JsonValue] = workspace.read(Extraction).model_dump()
    numbers = {key: len(value) if isinstance(value, list | dict) else value for key, value in extraction.items()}
    return {key: value for key, value in numbers.items() if isinstance(value, int)}
