"""Step: the model a batch starts from: the champion of the registry, or the base model while there is none.

A workspace that is no batch's (of `dvc repro`, of single commands) starts from the base model. Unlearning may go on
from the weights of another version, which was made from the same model and fell short.
"""

from pathlib import Path

from tasks.beforehand import why_no_adapter, why_no_base
from tasks.params import Params
from tasks.stamp import digest
from tasks.step import Source, Step
from tasks.workspace import ParentModel, Place, Workspace
from unilogit.adapters import find_adapter
from unilogit.errors import InputError
from unilogit.files import read_json


def run_parent(workspace: Workspace, params: Params) -> ParentModel:
    """Choose the model that the batch starts from; the choice of a batch is made once.

    Raises:
        InputError: the model cannot be found, the champion may not be one, no adapter can be made on it though
            register.save asks for one, or unlearning cannot go on from the version that is named.
    """
    parent = _chosen_before(workspace) or _choose(workspace, params)
    parent = parent.model_copy(update=_start(workspace, params, parent.version))
    if reason := why_no_adapter(params, parent.version, find_adapter(parent.model) is not None):
        raise InputError(reason)
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


def _start(workspace: Workspace, params: Params, parent: str | None) -> dict[str, object]:
    """What is said of the weights that unlearning goes on from."""
    from tasks.registry.connection import connect
    from tasks.registry.lineage import read_registry
    from tasks.registry.start import fetch_start, why_no_start

    start = params.model.start
    if start is None:
        return {"start": None, "start_version": None, "start_sha256": None}
    with connect() as store:
        if problems := why_no_start(params, read_registry(store, params.register_.registered_model), parent):
            raise InputError(*problems)
        model = fetch_start(store, params, workspace.path(Place.START_FILES))
    return {"start": str(model), "start_version": start, "start_sha256": digest(Path(str(model)))}


def _base(params: Params) -> str:
    if reason := why_no_base(params.model.base):
        raise InputError(reason)
    return params.model.base


STEP = Step(
    name="parent",
    function=run_parent,
    reads=(Source.BASE,),
    writes=(Place.PARENT, Place.PARENT_FILES, Place.START_FILES),
    params=(
        *("model.base", "model.start", "register.registered_model", "register.save", "unlearn.learning_rate"),
        *("unlearn.lora_rank", "unlearn.method"),
    ),
    retries=3,
    timeout=3600,
)

if __name__ == "__main__":
    STEP.command()
