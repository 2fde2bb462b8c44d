"""Step: the retain model that a batch is compared with.

It is what perfect unlearning would give: the same architecture and tokenizer, trained on the retain set alone.
"""

import os
import shutil
from pathlib import Path

from tasks.params import Params
from tasks.stamp import digest
from tasks.step import Source, Step
from tasks.steps.train import train_once
from tasks.workspace import Place, RetainModel, Workspace, trained_models
from unilogit.errors import InputError
from unilogit.files import atomic_folder, sha256_json


def run_retain_model(workspace: Workspace, params: Params) -> RetainModel:
    """Find or train the retain model of the workspace's retain set.

    Raises:
        InputError: model.retain names a folder without a model, or model.base cannot be trained from scratch.
    """
    retain_model = _find_or_train(workspace, params)
    workspace.write(retain_model)
    return retain_model


def _find_or_train(workspace: Workspace, params: Params) -> RetainModel:
    output = workspace.path(Place.RETAIN_MODEL_FILES)
    if params.model.retain != "train":
        shutil.rmtree(output, ignore_errors=True)
    if params.model.retain is None:
        why = "none (model.retain is null); what needs one will say that it is not available"
        return RetainModel(model=None, files_sha256=None, description=why)
    if params.model.retain != "train":
        folder = Path(params.model.retain)
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{folder}: no model there (config.json is missing); correct model.retain or set it to null"
            )
        return RetainModel(model=str(folder), files_sha256=digest(folder), description=str(folder))
    retain = workspace.path(Place.RETAIN)
    store = trained_models() / sha256_json([digest(retain), params.value("train"), params.seed])[:16]
    trained = train_once(retain, store, params, params.model.base)
    with atomic_folder(output) as folder:
        for file in trained.model.iterdir():
            os.link(file, folder / file.name)  # the same files by another name: they take no room
    kept = trained.model_copy(update={"model": output})
    return RetainModel(model=str(output), files_sha256=digest(output), description=str(kept))


STEP = Step(
    name="retain_model",
    function=run_retain_model,
    reads=(Place.RETAIN, Source.BASE, Source.RETAIN_MODEL),
    writes=(Place.RETAIN_MODEL, Place.RETAIN_MODEL_FILES),
    params=("seed", "train", "model.base", "model.retain", "model.max_length"),
    timeout=168 * 3600,
)

if __name__ == "__main__":
    STEP.command()
