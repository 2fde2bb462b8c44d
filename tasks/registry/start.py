"""The version whose weights unlearning goes on from: whether it can, and its files.

Knows versions, parameters and forget sets; nothing of how a model is trained.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tasks.params import Params
from tasks.registry.connection import connect
from tasks.registry.lineage import BATCH, PARENT, Registry, read_registry
from tasks.registry.versions import BASE, fetch
from tasks.workspace import Place, Workspace, run_folder
from unilogit.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def why_no_start(params: Params, registry: Registry, parent: str | None) -> list[str]:
    """Why unlearning cannot go on from the version that model.start names, a sentence each; nothing where it can.

    Args:
        registry: of the registered model.
        parent: the version that is unlearned from; None for the base model.
    """
    start = params.model.start
    if start is None:
        return []
    tags, knob = registry.versions.get(str(start)), f"model.start = {start}"
    if tags is None:
        return [f"{knob}: {registry.name} has no such version; `unilogit models list` shows what there is"]
    problems = []
    if (made_from := tags.get(PARENT) or None) != parent:
        problems.append(
            f"{knob}: it was made from {_told(made_from)}, and this run is from {_told(parent)}; set it to null"
        )
    if BASE in tags or params.register_.save == "adapter":
        problems.append(f"{knob}: only whole models can be gone on from; set register.save to merged, or it to null")
    if params.unlearn.method == "none":
        problems.append(f"{knob}: unlearn.method none goes on from nothing; set it to null")
    if params.unlearn.learning_rate == "auto":
        problems.append(
            f"{knob}: a rate is found by how far the first steps from the model before come; give unlearn.learning_rate"
            " a number, such as half of what that version's run found"
        )
    return problems


def check_forgotten(workspace: Workspace, params: Params) -> None:
    """Refuse to go on from a version that was made to forget records which are not to be forgotten now.

    Args:
        workspace: of a batch; its sets are there.

    Raises:
        InputError: there are such records, or nothing here says which ones there were.
    """
    start = params.model.start
    if start is None:
        return
    with connect() as store:
        tags = read_registry(store, params.register_.registered_model).versions.get(str(start), {})
    earlier, knob = Workspace(run_folder(tags.get(BATCH, ""))), f"model.start = {start}"
    if not tags.get(BATCH) or not earlier.has(Place.FORGET):
        raise InputError(
            f"{knob}: {earlier.path(Place.FORGET)} is not there, so nobody can tell whom it forgot; run where it was"
            " made, or set it to null"
        )
    forgotten, now = (set(_record_ids(space.path(Place.FORGET))) for space in (earlier, workspace))
    if surplus := sorted(forgotten - now):
        raise InputError(
            f"{knob}: it was made to forget {len(surplus)} records that this batch does not (the first: {surplus[0]});"
            " set it to null"
        )


def fetch_start(store: "MlflowClient", params: Params, folder: Path) -> Path | None:
    """The files of the version that model.start names, inside `folder`; None where it names none.

    Raises:
        InputError: its weights are not the registered ones.
    """
    if params.model.start is None:
        return None
    return fetch(store, params.register_.registered_model, str(params.model.start), folder)


def _record_ids(file: Path) -> list[str]:
    ids: list[str] = pq.read_table(file, columns=["record_id"])["record_id"].to_pylist()
    return ids


def _told(version: str | None) -> str:
    return f"version {version}" if version else "the base model"
