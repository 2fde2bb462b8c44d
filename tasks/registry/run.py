"""A judged workspace as one MLflow run: params, metrics, artifacts and the model.

A run is found again by its tag `registration`, and what is missing of it is logged: a call after a kill completes
it. Prompts, answers and people stay in the workspace, unless `register.log_generations` let generations into the
logged report. MLflow is imported inside functions.
"""

import inspect
import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from tasks.params import Params
from tasks.registry.connection import experiment_id
from tasks.registry.versions import REGISTRATION
from tasks.report.review import flatten, numbers
from tasks.workspace import Extraction, Metrics, Place, Training, Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REQUIREMENTS = ("accelerate", "safetensors", "tokenizers", "torch", "transformers")  # of the logged model

_LONGEST_KEY = 250  # that MLflow takes


def find_or_create_run(store: "MlflowClient", experiment: str, tags: Mapping[str, str]) -> "Run":
    """The run that an earlier call began, or a new one.

    Args:
        experiment: its name.
        tags: of the run; `registration` is how it is found, `batch_id` its name.

    Raises:
        InputError: the experiment was deleted.
    """
    number = experiment_id(store, experiment)
    runs = store.search_runs([number], f"tags.{REGISTRATION} = '{tags[REGISTRATION]}'", max_results=1)
    return runs[0] if runs else store.create_run(number, tags=dict(tags), run_name=tags["batch_id"])


def complete_run(store: "MlflowClient", run: "Run", workspace: Workspace, params: Params) -> str:
    """Log what is missing of a run; its logged model's id.

    Repeating changes nothing: metrics keep the time at which the run began.
    """
    run_id = run.info.run_id
    store.log_batch(run_id, _metrics(workspace, run.info.start_time), _params(params))
    for picture in sorted(workspace.path(Place.PLOTS).glob("*.png")):
        store.log_artifact(run_id, str(picture), Place.PLOTS)
    for place in (Place.LOGGED_REPORT, Place.GATES, Place.METRICS):
        store.log_artifact(run_id, str(workspace.path(place)))
    store.log_dict(run_id, params.as_dict(), "params.yaml")
    store.log_dict(run_id, _counts(workspace), Path(Place.EXTRACTION).name)
    model_id = _log_model(store, run, workspace.path(Place.MODEL))
    store.set_terminated(run_id)
    return model_id


def _params(params: Params) -> list["Param"]:
    from mlflow.entities import Param

    gates = {
        f"gates.{gate.name}": f"{gate.metric} {gate.op} {gate.threshold:g} ({gate.scope})" for gate in params.gates
    }
    values = {key: value for key, value in flatten(params.as_dict()).items() if key != "gates"}
    return [Param(_key(key), str(value)) for key, value in {**values, **gates}.items()]


def _metrics(workspace: Workspace, timestamp: int) -> list["Metric"]:
    """The history of training by step, and every number of the three models at step 0."""
    from mlflow.entities import Metric

    history = [
        (name, value, int(entry["step"]))
        for entry in workspace.read(Training).history
        for name, value in entry.items()
        if "step" in entry and name not in ("step", "epoch")
    ]
    models = workspace.read(Metrics).model_dump(include={"before", "after", "retain_model"}, exclude_none=True)
    final = [(path, value, 0) for path, value in numbers(models).items()]
    return [
        Metric(_key(name), float(value), timestamp, step)
        for name, value, step in [*history, *final]
        if value is not None and math.isfinite(value)
    ]


def _key(name: str) -> str:
    """`name` as MLflow allows it, with other signs than letters, digits and `_-. :/` by their code points."""
    return re.sub(r"[^\w. :/-]", lambda sign: f"_{ord(sign[0]):x}_", name)[:_LONGEST_KEY]


def _counts(workspace: Workspace) -> dict[str, int]:
    """What was extracted in numbers; its lists hold ids of requests."""
    extraction: dict[str, JsonValue] = workspace.read(Extraction).model_dump()
    numbers = {key: len(value) if isinstance(value, list | dict) else value for key, value in extraction.items()}
    return {key: value for key, value in numbers.items() if isinstance(value, int)}


def _log_model(store: "MlflowClient", run: "Run", folder: Path) -> str:
    """Log the model once; one that a kill left half-logged makes room for a new one."""
    import mlflow
    from mlflow.entities import LoggedModelStatus

    experiment, run_id = run.info.experiment_id, run.info.run_id
    whole = None
    for logged in store.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        if logged.status == LoggedModelStatus.READY:
            whole = logged
        else:
            store.delete_logged_model(logged.model_id)
    if whole is None:
        whole = store.create_logged_model(experiment, "model", source_run_id=run_id)
        with _as_it_was_saved():
            mlflow.transformers.log_model(
                _load(folder),
                model_id=whole.model_id,
                run_id=run_id,
                task="text-generation",
                pip_requirements=[f"{name}=={installed_version(name).split('+')[0]}" for name in REQUIREMENTS],
            )
    return str(whole.model_id)


def _load(folder: Path) -> "dict[str, PreTrainedModel | PreTrainedTokenizerBase]":
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
