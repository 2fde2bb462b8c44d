"""Step: measure the model before, the unlearned model and the retain model on the same sets.

Each model's result is kept by what it depends on: a killed run measures no model twice.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel

from tasks.general import Measurable, measure_ordinary_chat
from tasks.params import TOKENS, Params
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED, evaluation_sets
from tasks.stamp import Keeper, code_digest, digest
from tasks.step import Step
from tasks.workspace import AttackMetrics, Measured, ParentModel, Place, RetainModel, Training, Workspace
from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.evaluation.stopwatch import tell_seconds
from unilogit.files import Json, read_json, write_json, write_parquet, write_text

if TYPE_CHECKING:
    from unilogit.evaluation.evaluate import Evaluation

MEASURED_APART = {"robustness", "baselines", "general", "lm_eval_tasks"}  # knobs that change nothing on the sets
SETS = (Place.FORGET, Place.RETAIN, Place.HOLDOUT, Place.NEIGHBOURS)


class MeasuredModels(BaseModel):
    """The measurements that say most, before and after; None where there is no number.

    Attributes:
        forget_probability, retain_probability, model_utility: (before, after).
        took: model → where the time of measuring it went.
    """

    forget_probability: tuple[float | None, float | None]
    retain_probability: tuple[float | None, float | None]
    model_utility: tuple[float | None, float | None]
    took: dict[str, str]

    def __str__(self) -> str:
        changes = {
            "forget probability": self.forget_probability,
            "retain probability": self.retain_probability,
            "model utility": self.model_utility,
        }
        told = [f"{name} {_number(before)} → {_number(after)}" for name, (before, after) in changes.items()]
        return ", ".join(told) + "".join(f"\n  {role} took {line}" for role, line in self.took.items())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def run_evaluate(workspace: Workspace, params: Params) -> MeasuredModels:
    """Measure the unlearned model beside the model before it and the retain model.

    With evaluate.baselines, unlearns with these methods too and measures what comes of it.

    Raises:
        InputError: a model is missing, or a baseline cannot be trained on these data.
    """
    from unilogit.evaluation.comparison import compare

    sets = evaluation_sets(workspace, params)
    retain_model = workspace.read(RetainModel)
    roles = [PARENT, UNLEARNED, *([RETAIN_MODEL] if retain_model.model else [])]
    if RETAIN_MODEL not in roles:
        for stale in (*workspace.measured(RETAIN_MODEL), workspace.ordinary_chat(RETAIN_MODEL)):
            stale.unlink(missing_ok=True)
    evaluations = {role: _evaluate(workspace, role, sets, params) for role in roles}
    metrics = compare(
        evaluations[PARENT],
        evaluations[UNLEARNED],
        evaluations.get(RETAIN_MODEL),
        no_retain_model=retain_model.description,
    )
    attacks = workspace.read(AttackMetrics)
    for role, robustness in attacks.metrics.items():
        metrics[role]["robustness"] = robustness
        prefix = "robustness." if role == UNLEARNED else f"{role}.robustness."
        for told, reasons in (("unavailable", attacks.unavailable), ("incomplete", attacks.incomplete)):
            metrics[told] |= {f"{prefix}{name}": reason for name, reason in reasons[role].items()}
    models = {role: Measurable(*_model(workspace, role)) for role in roles}
    seconds_of_chat = measure_ordinary_chat(workspace, models, params, metrics)
    _compare_methods(workspace, sets, params)
    write_json(workspace.path(Place.METRICS), metrics)
    before, after = metrics[PARENT], metrics[UNLEARNED]
    return MeasuredModels(
        forget_probability=(before["forget"]["probability"], after["forget"]["probability"]),
        retain_probability=(before["retain"]["probability"], after["retain"]["probability"]),
        model_utility=(before["model_utility"], after["model_utility"]),
        took={
            role: tell_seconds(evaluation.seconds | seconds_of_chat[role], evaluation.generated_tokens)
            for role, evaluation in evaluations.items()
        },
    )


def _compare_methods(workspace: Workspace, sets: Mapping[str, list[CorpusRecord]], params: Params) -> None:
    """Unlearn with the methods of evaluate.baselines too, and write what the forget/utility plane shows of them."""
    from tasks.steps import unlearn
    from unilogit.training.idle_knobs import same_run_by

    rows = []
    for method in params.evaluate.baselines:
        changed = params.model_copy(update={"unlearn": same_run_by(method, params.unlearn)})
        output = workspace.baseline(method)
        step = unlearn.STEP.keeper(workspace, changed)
        outputs = {str(place): output.path(place) for place in unlearn.STEP.writes}
        keeper = Keeper(output.path(Place.STAMPS, f"{unlearn.STEP.name}.json"), step.inputs, outputs, Training)
        try:
            keeper.run(partial(unlearn.unlearn_into, workspace, output, changed))
        except InputError as error:
            raise InputError(*[f"evaluate.baselines, {method}: {problem}" for problem in error.problems]) from None
        metrics = _evaluate(workspace, f"baseline-{method}", sets, params).metrics
        rows.append((method, metrics["forget"]["probability"], metrics["model_utility"]))
    file = workspace.path(Place.BASELINES)
    if rows:
        columns = ["name", "forget_probability", "model_utility"]
        write_text(file, pd.DataFrame(rows, columns=columns).to_csv(index=False))
    else:
        file.unlink(missing_ok=True)


def _evaluate(workspace: Workspace, role: str, sets: Mapping[str, list[CorpusRecord]], params: Params) -> "Evaluation":
    """Measure one model, or take what an earlier call measured from the same inputs."""
    from unilogit.evaluation.evaluate import Evaluation

    retain_model = workspace.read(RetainModel)
    compared = role in (PARENT, UNLEARNED) and retain_model.model is not None
    model, model_digest = _model(workspace, role)
    inputs: Json = {
        "model": model_digest,
        "retain_model": retain_model.files_sha256 if compared else None,
        "data": [digest(workspace.path(place)) for place in SETS],
        "config": params.evaluate.model_dump(
            mode="json", exclude={"robustness", "baselines", "general", "lm_eval_tasks"}
        ),
        "params": [params.seed, params.model.max_length],
        "groups": list(params.data.utility_groups),
        "code": code_digest("unilogit.evaluation.evaluate"),
    }
    scores, examples = workspace.measured(role)
    stamp = workspace.path(Place.STAMPS, f"{STEP.name}.{role}.json")

    def measure() -> None:
        evaluation = _measure(role, model, sets, params, retain_model.model if compared else None)
        write_parquet(examples, evaluation.examples)
        content = Measured(
            metrics=evaluation.metrics,
            unavailable=evaluation.unavailable,
            incomplete=evaluation.incomplete,
            seconds=evaluation.seconds,
            generated_tokens=evaluation.generated_tokens,
        )
        write_json(scores, content.model_dump(mode="json"))

    Keeper(stamp, inputs, {"scores": scores, "examples": examples}, type(None)).run(measure)
    content = Measured.model_validate(read_json(scores))
    return Evaluation(
        examples=pd.read_parquet(examples),
        metrics=content.metrics,
        unavailable=content.unavailable,
        incomplete=content.incomplete,
        seconds=content.seconds,
        generated_tokens=content.generated_tokens,
    )


def _model(workspace: Workspace, role: str) -> tuple[str, str | None]:
    """The model in a role, and the digest of its files."""
    if role == PARENT:
        parent = workspace.read(ParentModel)
        return parent.model, parent.files_sha256
    if role == RETAIN_MODEL:
        retain_model = workspace.read(RetainModel)
        return str(retain_model.model), retain_model.files_sha256
    owner = workspace if role == UNLEARNED else workspace.baseline(role.removeprefix("baseline-"))
    folder = owner.path(Place.MODEL)
    return str(folder), digest(folder)


def _measure(
    role: str, model: str, sets: Mapping[str, list[CorpusRecord]], params: Params, retain_model: str | None
) -> "Evaluation":
    from unilogit.evaluation.evaluate import evaluate_model
    from unilogit.model import load_model

    loaded, tokenizer = load_model(model)
    return evaluate_model(
        loaded,
        params.model.formatted(tokenizer),
        sets,
        batch_tokens=params.evaluate.batch_tokens,
        max_length=params.model.max_length,
        max_new_tokens=params.evaluate.max_new_tokens,
        utility_sets=["retain", *params.data.utility_groups],
        retain_model=load_model(retain_model)[0] if retain_model else None,
        progress=f"evaluate {role}",
    )


STEP = Step(
    name="evaluate",
    function=run_evaluate,
    reads=(
        *SETS,
        *(Place.PARENT, Place.MODEL, Place.RETAIN_MODEL, Place.ATTACK_METRICS),
    ),
    writes=(Place.METRICS, Place.MEASURED),
    params=("seed", "evaluate", "unlearn", "data.utility_groups", *TOKENS),
)

if __name__ == "__main__":
    STEP.command()
