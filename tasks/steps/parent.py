"""Step: the model a batch starts from: the champion of the registry, or the base model while there is none.

A workspace that is no batch's (of `dvc repro`, of single commands) starts from the base model.
"""

from pathlib import Path

from tasks.params import Params
from tasks.stamp import digest
from tasks.step import Source, Step
from tasks.workspace import ParentModel, Place, Workspace
from unilogit.adapters import base_of, find_adapter
from unilogit.errors import InputError
from unilogit.files import read_json


def run_parent(workspace: Workspace, params: Params) -> ParentModel:
    """Choose the model that the batch starts from; the choice of a batch is made once.

    Raises:
        InputError: the model cannot be found, the champion may not be one, or no adapter can be made on it though
            register.save asks for one.
    """
    parent = _chosen_before(workspace) or _choose(workspace, params)
    if params.register_.save == "adapter":
        _check_adapter_can_be_saved(parent, params)
    workspace.write(parent)
    return parent


def _chosen_before(workspace: Workspace) -> ParentModel | None:
    """The version that an earlier call chose, if its files are still whole."""
    file = workspace.path(Place.PARENT)
    chosen = ParentModel.model_validate(read_json(file)) if file.exists() else None
    whole = chosen is not None and chosen.version is not None and digest(Path(chosen.model)) == chosen.files_sha256
    return chosen if whole else None


def _choose(workspace: Workspace, params: Params) -> ParentModel:
    from tasks.registry.lineage import choose_parent

    name, folder = params.register_.registered_model, workspace.path(Place.PARENT_FILES)
    champion = choose_parent(name, folder, params.model.base) if workspace.is_batch else None
    model, version = (str(champion[0]), champion[1]) if champion else (_base(params), None)
    return ParentModel(model=model, version=version, files_sha256=digest(Path(model)) or model)


def _base(params: Params) -> str:
    from transformers import AutoConfig

    from unilogit.model import why_no_model

    base = params.model.base
    try:
        AutoConfig.from_pretrained(base_of(base))
    except (OSError, ValueError) as error:
        raise InputError(
            f"params.yaml: model.base = {base!r}: no model there ({why_no_model(error)});"
            " give a Hugging Face folder or hub name"
        ) from None
    return base


def _check_adapter_can_be_saved(parent: ParentModel, params: Params) -> None:
    if find_adapter(parent.model):
        return
    if parent.version is not None:
        raise InputError(
            f"register.save is adapter, but the champion, version {parent.version}, is a whole model, of which there is"
            " a copy for this run alone: an adapter on it would lose its base; set register.save to merged"
        )
    if params.unlearn.lora_rank is None:
        raise InputError(
            f"register.save is adapter, but model.base = {parent.model!r} is a whole model and unlearn.lora_rank is"
            " null; set unlearn.lora_rank, or register.save to merged"
        )


STEP = Step(
    name="parent",
    function=run_parent,
    reads=(Source.BASE,),
    writes=(Place.PARENT, Place.PARENT_FILES),
    params=("model.base", "register.registered_model", "register.save", "unlearn.lora_rank"),
    retries=3,
    timeout=3600,
)

if __name__ == "__main__":
    STEP.command()
