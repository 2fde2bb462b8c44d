"""What earlier steps would have left in a workspace, written by hand."""

from pathlib import Path

from tasks.params import load_params
from tasks.stamp import digest
from tasks.steps.targets import write_targets
from tasks.workspace import AttackMetrics, ParentModel, RetainModel, TokenTargets, Workspace
from unilogit.evaluation.findings import NOT_FINITE


def put_parent(workspace: Workspace, model: Path, version: str | None = None, start: Path | None = None) -> None:
    parent = ParentModel(model=str(model), version=version, files_sha256=digest(model) or str(model))
    told = {} if start is None else {"start": str(start), "start_version": 1, "start_sha256": digest(start)}
    workspace.write(parent.model_copy(update=told))


def put_targets(workspace: Workspace) -> None:
    """1/V for each forget token."""
    write_targets(workspace, TokenTargets(source=None, told="1/V", correlation={}, recall={}))


def put_retain_model(workspace: Workspace, model: Path | None) -> None:
    given = None if model is None else str(model)
    workspace.write(RetainModel(model=given, files_sha256=model and digest(model), description=given or "none"))


def put_attacks(workspace: Workspace, **metrics: dict[str, float | None]) -> None:
    unavailable = {
        role: {name: NOT_FINITE for name, value in values.items() if value is None} for role, values in metrics.items()
    }
    workspace.write(AttackMetrics(metrics=metrics, unavailable=unavailable, incomplete={role: {} for role in metrics}))


def loader(*small: str, file: Path = Path("params.yaml")):
    """A function that loads params.yaml with `small` and further overrides."""

    def load(*overrides: str):
        return load_params(file, [*small, *overrides])

    return load
