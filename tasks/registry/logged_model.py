"""A workspace's model as a logged model of MLflow, whole or not at all, with what was measured of it.

MLflow is imported inside functions.
"""

import inspect
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tasks.params import Params
from tasks.registry.datasets import dataset_digests
from tasks.registry.points import model_points
from tasks.registry.versions import ADAPTER
from tasks.workspace import Place, Training, Workspace
from unilogit.adapters import Adapter, attach_adapter, find_adapter, lasting

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REQUIREMENTS = ("accelerate", "safetensors", "tokenizers", "torch", "transformers")  # of the logged model
EXAMPLE = "Who keeps the lighthouse of the invented town of Lirum?"  # nobody's text


def log_model(store: "MlflowClient", run: "Run", workspace: Workspace, params: Params) -> str:
    """Log the model of a run once, and link to it and to the sets what was measured of it.

    One that a kill left half-logged makes room for a new one.

    Returns:
        Its id.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    experiment, run_id = run.info.experiment_id, run.info.run_id
    whole = None
    for logged in store.search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        if logged.status == LoggedModelStatus.READY:
            whole = logged
        else:
            store.delete_logged_model(logged.model_id)
    if whole is None:
        whole = store.create_logged_model(experiment, "model", source_run_id=run_id, model_type="text-generation")
        with TemporaryDirectory(dir=workspace.root, prefix=".logged_model") as folder:
            _save(workspace.path(Place.MODEL), folder, whole, run_id)
            store.log_model_artifacts(whole.model_id, folder)
        store.finalize_logged_model(whole.model_id, LoggedModelStatus.READY)
    model_id = str(whole.model_id)
    outputs = store.get_run(run_id).outputs
    if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
        store.log_outputs(run_id, [LoggedModelOutput(model_id, workspace.read(Training).steps)])
    _link(store, run, workspace, params, model_id)
    return model_id


def name_version(store: "MlflowClient", version: "ModelVersion") -> None:
    """Say on the model's page which version it is; a server does so itself, MLflow without a server does not."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    named = [{"name": version.name, "version": str(version.version)}]
    store.set_logged_model_tags(model_id_of(version), {MLFLOW_MODEL_VERSIONS: json.dumps(named)})


def model_id_of(version: "ModelVersion") -> str:
    """Of the logged model that a version is."""
    return str(version.source).removeprefix("models:/")


def _link(store: "MlflowClient", run: "Run", workspace: Workspace, params: Params, model_id: str) -> None:
    from mlflow.entities import Metric

    digests = dataset_digests(workspace)
    linked = [
        Metric(
            point.key,
            point.value,
            point.timestamp,
            point.step,
            model_id=model_id,
            dataset_name=name if name in digests else None,
            dataset_digest=digests.get(name),
            run_id=run.info.run_id,
        )
        for point, name in model_points(workspace, run.info.start_time, params)
    ]
    store.log_batch(run.info.run_id, linked)


def _save(model: Path, folder: str, logged: "LoggedModel", run_id: str) -> None:
    """Write the model as MLflow lays it out; of an adapter its folder as it is, and where its base is."""
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    text, adapter = Schema([ColSpec(DataType.string)]), find_adapter(str(model))
    packages = (*REQUIREMENTS, "peft") if adapter else REQUIREMENTS
    with _as_it_was_saved():
        mlflow.transformers.save_model(
            _load(model, adapter),
            folder,
            base_model_path=adapter.base if adapter and Path(adapter.base).is_dir() else None,
            task="text-generation",
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
                run_id=run_id,
            ),
            signature=ModelSignature(inputs=text, outputs=text),
            input_example=EXAMPLE,
            pip_requirements=[f"{name}=={installed_version(name).split('+')[0]}" for name in packages],
        )
    if adapter:
        shutil.copytree(model, Path(folder) / ADAPTER, dirs_exist_ok=True)


def _load(folder: Path, adapter: Adapter | None) -> "dict[str, PreTrainedModel | PeftModel | PreTrainedTokenizerBase]":
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = folder.resolve()  # MLflow takes a relative one for a repository of the hub
    whole = lasting(adapter.base) if adapter else path
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(whole, dtype="auto")
    return {
        "model": attach_adapter(model, adapter, trainable=False) if adapter else model,
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
