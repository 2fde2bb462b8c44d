"""Step: log a judged workspace as one MLflow run and register its model as one version.

Both are found again by what they hold (tag `registration`), so that a call after a kill completes what is there,
and the same workspace never becomes two versions.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.params import Params
from tasks.registry.connection import connect
from tasks.registry.lineage import offer
from tasks.registry.live import run_route
from tasks.registry.logged_model import model_id_of, name_version
from tasks.registry.run import complete_run, find_or_create_run, opening_tags
from tasks.registry.versions import (
    BASE,
    CANDIDATE,
    FAILED,
    PASSED,
    REGISTRATION,
    base_tags,
    create_version,
    find_version,
)
from tasks.report.markdown import describe_version
from tasks.report.page import write_report
from tasks.report.review import Review, read_review
from tasks.step import Step
from tasks.steps.store import data_md5
from tasks.workspace import Place, Registration, Workspace, home
from unilogit.adapters import find_adapter
from unilogit.errors import InputError
from unilogit.files import sha256_json, sha256_weights, write_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

EXPERIMENTS = "-experiments"  # what follows the registered model's name where a workspace is no batch's
_ARTIFACTS = {"Report": Place.LOGGED_REPORT, "Gates": Place.GATES, "Plots": Place.PLOTS}  # link → what it leads to


def run_register(workspace: Workspace, params: Params) -> Registration:
    """Log the run and register its model as a version: `candidate` when every gate passed and none newer is.

    A new version only when weights, parameters, gates or batch are new. What is no batch's is an experiment: a version
    of a model of its own, without alias.

    Raises:
        InputError: the model is not what the step unlearn wrote.
    """
    review = read_review(workspace)
    if sha256_weights(workspace.path(Place.MODEL)) != review.training.weights_sha256:
        raise InputError(
            f"{workspace.path(Place.MODEL)}: its weights are not those that {Place.TRAINING} names;"
            f" run `python -m tasks.steps.unlearn --workspace {workspace.root}` and the steps after it again"
        )
    tags = _tags(workspace, params, review)
    name = params.register_.registered_model + ("" if workspace.is_batch else EXPERIMENTS)
    with connect() as store:
        version = find_version(store, name, tags[REGISTRATION])
        write_report(workspace, review, params)
        if version is None:
            run = find_or_create_run(store, params.register_.experiment, tags)
            model_id = complete_run(store, run, workspace, params)
            version = create_version(store, name, run, model_id, tags)
        if not version.description:
            name_version(store, version)
            store.update_model_version(name, version.version, _describe(store, review, version, workspace))
        is_candidate = workspace.is_batch and review.gates.passed and offer(store, name, str(version.version))
    registration = Registration(
        registered_model=name,
        version=str(version.version),
        run_id=str(version.run_id),
        alias=CANDIDATE if is_candidate else None,
        gates=_verdict(review.gates.passed),
        tags=dict(version.tags),
    )
    write_json(workspace.path(Place.VERSION_PARAMS), params.as_dict())
    workspace.write(registration)
    return registration


def _tags(workspace: Workspace, params: Params, review: Review) -> dict[str, str]:
    """The tags of run and version."""
    opening, weights = opening_tags(review.batch_id, params), review.training.weights_sha256
    adapter = find_adapter(str(workspace.path(Place.MODEL)))
    return {
        **opening,
        REGISTRATION: sha256_json([review.batch_id, weights, opening["params_md5"], review.gates.model_dump()]),
        "requests": str(review.counts["requests"]),
        "parent_version": review.parent.version or "",
        **({"start_version": str(review.parent.start_version)} if review.parent.start_version else {}),
        "gates": _verdict(review.gates.passed),
        "gate.forget": _verdict(review.gates.scope_passed("forget", "forget_all")),
        "gate.utility": _verdict(review.gates.scope_passed("utility")),
        "data_md5": data_md5(workspace) or "",
        "weights_sha256": weights,
        **(base_tags(adapter.base) if adapter else {}),
    }


def _verdict(passed: bool | None) -> str:
    return "none" if passed is None else PASSED if passed else FAILED


def _describe(store: "MlflowClient", review: Review, version: "ModelVersion", workspace: Workspace) -> str:
    experiment = store.get_run(str(version.run_id)).info.experiment_id
    page = run_route(experiment, str(version.run_id))
    links = {"Run": page}
    links |= {name: f"{page}/artifacts/{Path(place).name}" for name, place in _ARTIFACTS.items()}
    links["Model"] = f"#/experiments/{experiment}/models/{model_id_of(version)}"
    if not workspace.is_batch:
        next_step = "nothing: this is an experiment, which answers no request and is never promoted."
    elif review.gates.passed:
        next_step = (
            f"read the report, then `unilogit models promote {version.name} {version.version}`"
            " or give it alias champion here."
        )
    else:
        next_step = "change the `unlearn` section of params.yaml, then `unilogit run --retry-failed`."
    facts = {
        "data": f"DVC hash {version.tags['data_md5']}" if version.tags.get("data_md5") else "not under DVC",
        "report where it was made": f"{_shown(workspace.path(Place.REPORT))}",
    }
    if base := version.tags.get(BASE):
        facts["an adapter on"] = f"{_shown(Path(base)) if Path(base).is_dir() else base}, which is as it was without it"
    return describe_version(review, links, facts, next_step)


def _shown(file: Path) -> str:
    """A path that holds wherever the state folder is moved to."""
    path = file.resolve()
    return f"UNILOGIT_HOME/{path.relative_to(home())}" if path.is_relative_to(home()) else str(path)


STEP = Step(
    name="register",
    function=run_register,
    # The verdict, not the gates: a threshold that changes no verdict makes no new version.
    reads=(
        *(Place.VERDICT, Place.MODEL, Place.TRAINING, Place.FORGET, Place.EXTRACTION, Place.PARENT, Place.RETAIN_MODEL),
        *(Place.METRICS, Place.MEASURED, Place.ATTACKS),
    ),
    writes=(
        *(Place.REGISTRATION, Place.VERSION_PARAMS),
        *(Place.REPORT, Place.LOGGED_REPORT, Place.PSEUDONYMS, Place.PLOTS),
    ),
    params=("register",),
    retries=3,
    timeout=3600,
)

if __name__ == "__main__":
    STEP.command()
