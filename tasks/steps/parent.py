"""Step: the model a batch starts from: the champion of the registry, or the base model while there is none.

A workspace that is no batch's (of `dvc repro`, of single commands) starts from the base model.
"""

from pathlib import Path

from tasks.beforehand import why_no_base
from tasks.params import Params
from tasks.stamp import digest
from tasks.step import Source, Step
from tasks.workspace import ParentModel, Place, Workspace
from unilogit.errors import InputError
from unilogit.files import read_json


def run_parent(workspace: Workspace, params: Params) -> ParentModel:
    """Choose the model that the batch starts from; the choice of a batch is made once.

    Raises:
        InputError: the model cannot be found, or the champion may not be one.
    """
    parent = _chosen_before(workspace) or _choose(workspace, params)
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
    champion = choose_parent(name, folder) if workspace.is_batch else None
    model, version = (str(champion[0]), champion[1]) if champion else (_base(params), None)
    return ParentModel(model=model, version=version, files_sha256=digest(Path(model)) or model)


def _base(params: Params) -> str:
    if reason := why_no_base(params.model.base):
        raise InputError(reason)
    return params.model.base


STEP = Step(
    name="parent",
    function=run_parent,
    reads=(Source.BASE,),
    writes=(Place.PARENT, Place.PARENT_FILES),
    params=("model.base", "register.registered_model"),
    retries=3,
    timeout=3600,
)

if __name__ == "__main__":
    STEP.command()
