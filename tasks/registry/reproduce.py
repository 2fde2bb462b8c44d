"""A registered version once more, from what its tags and its run hold: are its weights what comes out?

Weights are what a version is; they follow from its data (by DVC hash), its params and its parent, by the step that
unlearns. Measurements follow from the weights, and are not made again. MLflow is imported inside functions.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tasks.params import Params, load_params
from tasks.registry.connection import connect
from tasks.registry.run import git_commit
from tasks.registry.start import fetch_start
from tasks.registry.versions import fetch, fetch_on_base, unless_missing
from tasks.stamp import digest
from tasks.steps import load_step
from tasks.steps.store import check_out
from tasks.workspace import ParentModel, Place, Training, Workspace, ledger_location, reproductions
from unilogit.errors import InputError
from unilogit.ledger import Ledger, RequestState

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Reproduction:
    """What came of making a version again.

    Attributes:
        title: what the version is called.
        registered, made: digests of the weights.
        difference: the largest of a single weight; 0 where the digests are the same.
        hints: what may be why they differ.
        folder: what was made, if it was to be kept.
    """

    title: str
    registered: str
    made: str
    difference: float
    hints: tuple[str, ...]
    folder: Path | None

    @property
    def is_same(self) -> bool:
        return self.made == self.registered

    def __str__(self) -> str:
        kept = f"\nkept: {self.folder}" if self.folder else ""
        if self.is_same:
            return f"{self.title} is reproduced: its weights are {self.made}, bit for bit{kept}"
        told = f"{self.title} is not reproduced: its weights are {self.registered}, and {self.made} came out"
        return "\n".join([f"{told}; no weight differs by more than {self.difference:.3g}", *self.hints]) + kept


def reproduce(name: str, version: str, *, keep: bool = False, tell: Tell = print) -> Reproduction:
    """Make a version's weights again, and compare them with those that were registered.

    A call after a kill goes on where that one stopped. What was made is removed at the end, as it holds people's data.

    Args:
        name: of the registered model.
        keep: leave data and weights there.
        tell: is called with what is done, a line each.

    Raises:
        InputError: there is no such version; its data were purged, or never pushed; its run or its parent is not what
            was registered; or this code cannot read its params.
    """
    title, folder = f"{name} version {version}", reproductions() / f"{name}-{version}"
    with connect() as store:
        registered = unless_missing(lambda: store.get_model_version(name, version))
        if registered is None:
            raise InputError(f"{name} has no version {version}; `unilogit models list` shows what there is")
        weights, commit = (registered.tags.get(tag, "") for tag in ("weights_sha256", "git_commit"))
        if not weights:
            raise InputError(f"{title} has no tag weights_sha256; it is none that unilogit registered")
        workspace = Workspace(folder / "workspace")
        workspace.root.mkdir(parents=True, exist_ok=True)
        params = _params(registered, title, folder)
        for hint in (hints := _hints(commit, params)):
            tell(f"warning: {hint}")
        tell(f"{title}: data {_check_out(registered, title, workspace)}")
        parent = _parent(store, registered, params, folder)
        workspace.write(parent)
        tell(f"{title}: {parent}")
        load_step("targets").run(workspace, params)
        training = load_step("unlearn").run(workspace, params).result
        assert isinstance(training, Training)
        tell(f"{title}: {training}")
        made, difference = training.weights_sha256, 0.0
        if made != weights:
            registered_model = fetch(store, name, version, folder / "registered")
            difference = _largest_difference(workspace.path(Place.MODEL), registered_model)
    if not keep:
        shutil.rmtree(folder)
    return Reproduction(title, weights, made, difference, hints, folder if keep else None)


def _params(version: "ModelVersion", title: str, folder: Path) -> Params:
    """Those that the version's run was made with."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        file = mlflow.artifacts.download_artifacts(
            run_id=version.run_id, artifact_path="params.yaml", dst_path=str(folder)
        )
    except (MlflowException, OSError) as error:
        raise InputError(f"{title}: the params.yaml of its run {version.run_id} cannot be read ({error})") from error
    values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if hashlib.md5(canonical.encode(), usedforsecurity=False).hexdigest() != version.tags.get("params_md5"):
        raise InputError(f"{title}: the params.yaml of its run is not the one that was registered (tag params_md5)")
    try:
        return load_params(file)
    except InputError as error:
        release, commit = (version.tags.get(tag) or "unknown" for tag in ("unilogit_version", "git_commit"))
        remedy = f"{title} was made by unilogit {release}, commit {commit}, which reads other params; check that out"
        raise InputError(remedy, *error.problems) from None


def _hints(commit: str, params: Params) -> tuple[str, ...]:
    """What may make other weights here than were registered."""
    import torch

    hints = []
    if (here := git_commit()) != commit or commit.endswith("+changes"):
        hints.append(f"it was made by commit {commit or 'unknown'}, and this is {here or 'unknown'}")
    if torch.cuda.is_available() and not params.unlearn.deterministic:
        hints.append("there is a GPU, which gives the same weights again only with unlearn.deterministic: true")
    return tuple(hints)


def _check_out(version: "ModelVersion", title: str, workspace: Workspace) -> str:
    """The DVC hash of the version's data, which are in the workspace afterwards."""
    data = version.tags.get("data_md5")
    if not data:
        raise InputError(f"{title} has no tag data_md5: its data were never under DVC, so it cannot be reproduced")
    try:
        check_out(data, workspace)
    except InputError as error:
        shutil.rmtree(workspace.root.parent)  # what was fetched before something was found missing
        batch = version.tags.get("batch_id", "")
        purged = _purged(batch)
        why = (
            f"{title} cannot be reproduced: its data were purged ({purged} requests that were purged are of its batch"
            f" {batch} or of others whose records it held)"
            if purged
            else f"{title} cannot be reproduced: its data are not to be had; `dvc push` them where it was made, or"
            " correct .dvc/config here"
        )
        raise InputError(why, *error.problems) from None
    return data


def _purged(batch: str) -> int:
    """How many requests were purged of a batch, or of any when none is of this one."""
    with Ledger(ledger_location()) as ledger:
        batches = [row.batch_id for row in ledger.requests(RequestState.purged)]
    return batches.count(batch) or len(batches)


def _parent(store: "MlflowClient", version: "ModelVersion", params: Params, folder: Path) -> ParentModel:
    """What the version was unlearned from: a version, with the weights that were registered, or the base model.

    And the version whose weights it went on from, if any.
    """
    number = version.tags.get("parent_version") or None
    base = params.model.base
    model = str(fetch_on_base(store, version.name, number, folder / "parent", base)) if number else base
    parent = ParentModel(model=model, version=number, files_sha256=digest(Path(model)) or model)
    start = fetch_start(store, params, folder / "start")
    told = {} if start is None else {"start": str(start), "start_sha256": digest(start)}
    return parent.model_copy(update={**told, "start_version": params.model.start})


def _largest_difference(made: Path, registered: Path) -> float:
    """Of any single weight of two models of the same shape; infinite where they have other weights."""
    from safetensors.torch import load_file

    weights = [
        {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}
        for folder in (made, registered)
    ]
    shapes = [{name: tensor.shape for name, tensor in tensors.items()} for tensors in weights]
    if shapes[0] != shapes[1]:
        return float("inf")
    return max(float((tensor.double() - weights[1][name].double()).abs().max()) for name, tensor in weights[0].items())
