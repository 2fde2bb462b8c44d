"""Step: log a judged workspace as one MLflow run and register its model as one version.

Both are found again by what they hold (tag `registration`), so that a call after a kill completes what is there,
and the same workspace never becomes two versions. Prompts, answers and people stay in the workspace, unless
`register.log_generations` lets sample generations out.
"""

import hashlib
import inspect
import json
import logging
import math
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.command import run_command
from tasks.options import Overrides, ParamsFile
from tasks.report import Review, flatten, logged_report, read_review, write_report
from tasks.report_markdown import describe_version
from tasks.store_data import data_md5
from tasks.tracking import CANDIDATE, connect, experiment_id
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_json, write_json
from unilogit.params import DEFAULT_PARAMS, Params, load_params

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run
    from mlflow.entities.model_registry import ModelVersion

REGISTRATION = "registration"  # the tag by which a run and a version are found again
REQUIREMENTS = ("accelerate", "safetensors", "tokenizers", "torch", "transformers")  # of the logged model

_LONGEST_PARAM = 500
_METRICS_IN_A_BATCH, _PARAMS_IN_A_BATCH = 1000, 100  # what the tracking server accepts at once


@dataclass(frozen=True)
class Registration:
    """The registered version and whether it is a candidate; what registration.json holds.

    Attributes:
        version: of `registered_model`, as MLflow writes it.
        alias: `candidate`; None when a gate failed.
        gates: passed | failed.
        tags: of the version.
    """

    registered_model: str
    version: str
    run_id: str
    alias: str | None
    gates: str
    tags: dict[str, str]

    def __str__(self) -> str:
        state = self.alias or "gates failed: no alias"
        return f"{self.registered_model} version {self.version}, {state}"


def run_register(
    workspace: Path, params: Params, parent_version: str | None = None, batch_id: str | None = None
) -> Registration:
    """Write the report, log the run, register the version and write registration.json.

    Args:
        workspace: a judged workspace (gates.json).
        parent_version: the registered version that was unlearned from; None for the base model.
        batch_id: the workspace folder's name when not given.

    Returns:
        The version: a new one only when weights, parameters, gates or batch are new.

    Raises:
        InputError: a step has not been run yet, or `model/` is not what it wrote.
    """
    batch_id = batch_id or workspace.resolve().name
    review = read_review(workspace)
    if read_json(workspace / "training.json")["weights_sha256"] != review.weights_sha256:
        raise InputError(
            f"{workspace / 'model'}: its weights are not those that training.json names;"
            f" run `python -m tasks.unlearn --workspace {workspace}` and the steps after it again"
        )
    tags = _tags(workspace, params, review, parent_version, batch_id)
    name = params.register_.registered_model
    with connect() as store:
        version = _find_version(store, name, tags[REGISTRATION])
        write_report(workspace, params)
        if version is None:
            run = _find_or_create_run(store, params, tags)
            model_id = _complete_run(store, run, workspace, params)
            version = _create_version(store, name, run, model_id, tags)
        if not version.description:
            store.update_model_version(name, version.version, _describe(store, review, version, workspace))
        if review.gates.passed:
            store.set_registered_model_alias(name, CANDIDATE, version.version)
    registration = Registration(
        registered_model=name,
        version=str(version.version),
        run_id=str(version.run_id),
        alias=CANDIDATE if review.gates.passed else None,
        gates=_passed(review.gates.passed),
        tags=dict(version.tags),
    )
    write_json(workspace / "registration.json", {"schema_version": 1, **vars(registration)})
    return registration


def _tags(workspace: Path, params: Params, review: Review, parent_version: str | None, batch_id: str) -> dict[str, str]:
    """The tags of the version; all but the verdicts also are tags of the run."""
    params_md5 = hashlib.md5(_canonical(params.as_dict()).encode(), usedforsecurity=False).hexdigest()
    return {
        REGISTRATION: sha256_json([batch_id, review.weights_sha256, params_md5, review.gates.model_dump()]),
        "batch_id": batch_id,
        "requests": str(review.counts.get("requests", "")),
        "parent_version": parent_version or "",
        "gates": _passed(review.gates.passed),
        "gate.forget": _passed(review.gates.scope_passed("forget", "forget_all")),
        "gate.utility": _passed(review.gates.scope_passed("utility")),
        "git_commit": git_commit(),
        "data_md5": data_md5(workspace) or "",
        "params_md5": params_md5,
        "weights_sha256": review.weights_sha256,
    }


def _passed(verdict: bool) -> str:
    return "passed" if verdict else "failed"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def git_commit() -> str:
    """The commit of the current folder, with "+changes" when tracked files differ; empty without git."""
    describe = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _find_version(store: "MlflowClient", name: str, digest: str) -> "ModelVersion | None":
    found = store.search_model_versions(f"name = '{name}' and tags.{REGISTRATION} = '{digest}'")
    return min(found, key=lambda version: int(version.version), default=None)


def _find_or_create_run(store: "MlflowClient", params: Params, tags: dict[str, str]) -> "Run":
    experiment = experiment_id(params.register_.experiment)
    found = store.search_runs([experiment], f"tags.{REGISTRATION} = '{tags[REGISTRATION]}'", max_results=1)
    return found[0] if found else store.create_run(experiment, tags=tags, run_name=tags["batch_id"])


def _complete_run(store: "MlflowClient", run: "Run", workspace: Path, params: Params) -> str:
    """Log what is missing of the run; its logged model's id.

    Repeating changes nothing: metrics keep the time at which the run began.
    """
    run_id = run.info.run_id
    for some_params in _chunks(_flat_params(params), _PARAMS_IN_A_BATCH):
        store.log_batch(run_id, params=some_params)
    for some_metrics in _chunks(_metrics(workspace, run.info.start_time), _METRICS_IN_A_BATCH):
        store.log_batch(run_id, metrics=some_metrics)
    for picture in sorted((workspace / "plots").glob("*.png")):
        store.log_artifact(run_id, str(picture), "plots")
    for file in (logged_report(workspace), workspace / "gates.json", workspace / "evaluation" / "metrics.json"):
        store.log_artifact(run_id, str(file))
    store.log_dict(run_id, params.as_dict(), "params.yaml")
    store.log_dict(run_id, _counts(workspace), "extraction.json")
    model_id = _log_model(store, run, workspace / "model")
    store.set_terminated(run_id)
    return model_id


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _flat_params(params: Params) -> list["Param"]:
    from mlflow.entities import Param

    gates = {
        f"gates.{gate.name}": f"{gate.metric} {gate.op} {gate.threshold:g} ({gate.scope})" for gate in params.gates
    }
    values = {key: value for key, value in params.as_dict().items() if key != "gates"}
    return [Param(_key(key), str(value)[:_LONGEST_PARAM]) for key, value in {**flatten(values), **gates}.items()]


def _metrics(workspace: Path, timestamp: int) -> list["Metric"]:
    """The history of training by step, and every number of metrics.json at step 0."""
    from mlflow.entities import Metric

    history = [
        (name, value, entry["step"])
        for entry in read_json(workspace / "training.json")["history"]
        for name, value in entry.items()
        if "step" in entry and name not in ("step", "epoch")
    ]
    measured = read_json(workspace / "evaluation" / "metrics.json")
    final = [
        (path, value, 0)
        for path, value in flatten({key: measured.get(key) or {} for key in ("before", "after", "golden")}).items()
    ]
    return [
        Metric(_key(name), float(value), timestamp, int(step))
        for name, value, step in [*history, *final]
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]


def _key(name: str) -> str:
    """`name` as MLflow allows it: letters, digits, `_-. :`."""
    return re.sub(r"[^\w. :-]", "_", name)[:250]


def _counts(workspace: Path) -> dict[str, int]:
    """extraction.json in numbers; its lists hold ids of requests."""
    extraction = read_json(workspace / "data" / "extraction.json")
    numbers = {key: len(value) if isinstance(value, list) else value for key, value in extraction.items()}
    return {key: value for key, value in numbers.items() if isinstance(value, int)}


def _log_model(store: "MlflowClient", run: "Run", folder: Path) -> str:
    """Log the model once; one that a kill left half-logged makes room for a new one."""
    import mlflow
    from mlflow.entities import LoggedModelStatus

    experiment, run_id = run.info.experiment_id, run.info.run_id
    model = None
    for found in store.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        if found.status == LoggedModelStatus.READY:
            model = found
        else:
            store.delete_logged_model(found.model_id)
    if model is None:
        model = store.create_logged_model(experiment, "model", source_run_id=run_id)
        with _as_it_was_saved():
            mlflow.transformers.log_model(
                _load(folder),
                model_id=model.model_id,
                run_id=run_id,
                task="text-generation",
                pip_requirements=[f"{name}=={installed_version(name).split('+')[0]}" for name in REQUIREMENTS],
            )
    return str(model.model_id)


def _load(folder: Path) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = folder.resolve()  # MLflow takes a relative one for a repository of the hub
    return {
        "model": AutoModelForCausalLM.from_pretrained(path, dtype="auto"),
        "tokenizer": AutoTokenizer.from_pretrained(path),
    }


@contextmanager
def _as_it_was_saved() -> Iterator[None]:
    """Let MLflow split weights as transformers does, so that they keep their digest; and quietly.

    MLflow warns that a folder has no model card on the hub; transformers draws bars.
    """
    from mlflow.environment_variables import MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE
    from transformers import PreTrainedModel
    from transformers.utils import logging as bars

    shards = inspect.signature(PreTrainedModel.save_pretrained).parameters["max_shard_size"].default
    log, had_bars = logging.getLogger("mlflow.transformers"), bars.is_progress_bar_enabled()
    level, shards_before = log.level, MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE.get_raw()
    MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE.set(shards)
    log.setLevel(logging.ERROR)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        log.setLevel(level)
        if had_bars:
            bars.enable_progress_bar()
        if shards_before is None:
            MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE.unset()
        else:
            MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE.set(shards_before)


def _create_version(
    store: "MlflowClient", name: str, run: "Run", model_id: str, tags: dict[str, str]
) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    try:
        store.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return store.create_model_version(name, f"models:/{model_id}", run_id=run.info.run_id, tags=tags, model_id=model_id)


def _describe(store: "MlflowClient", review: Review, version: "ModelVersion", workspace: Path) -> str:
    name, number = version.name, version.version
    run = store.get_run(str(version.run_id)).info
    if store.tracking_uri.startswith(("http://", "https://")):
        page = f"{store.tracking_uri.rstrip('/')}/#/experiments/{run.experiment_id}/runs/{run.run_id}"
        links = {"Run": page, "Report": f"{page}/artifacts/report.html", "Plots": f"{page}/artifacts/plots"}
    else:
        folder = workspace.resolve()
        links = {
            "Run": run.run_id,
            "Report": str(folder / "report.html"),
            "Plots": str(folder / "plots"),
        }
    if review.gates.passed:
        next_step = f"read the report, then `unilogit models promote {name} {number}` or give it alias champion here."
    else:
        next_step = "change the `unlearn` section of params.yaml, then `unilogit run --retry-failed`."
    return describe_version(review, links, next_step)


def main(
    workspace: Path,
    parent_version: str | None = None,
    batch_id: str | None = None,
    params: ParamsFile = DEFAULT_PARAMS,
    set_: Overrides = None,
) -> Registration:
    """Log a judged workspace and register its model; it becomes candidate when every gate passed."""
    return run_register(workspace, load_params(params, set_), parent_version, batch_id)


if __name__ == "__main__":
    run_command(main)
