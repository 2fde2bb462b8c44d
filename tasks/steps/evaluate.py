"""Step: measure the model before, the unlearned model and the retain model on the same sets.

What was measured is kept by what it depends on (tasks/measurements.py): neither a killed run nor a retry or the next
batch measures anything twice.
"""

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import BaseModel

from tasks.fluency import put_fluency
from tasks.general import measure_ordinary_chat
from tasks.measurements import measure_once
from tasks.params import TOKENS, Params
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED, digest_of_records, evaluation_sets
from tasks.stamp import Keeper, code_digest, model_digest
from tasks.step import Source, Step
from tasks.workspace import AttackMetrics, Measured, ParentModel, Place, RetainModel, Training, Workspace, pseudonyms
from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.files import Json, write_json, write_parquet, write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unilogit.evaluation.evaluate import Evaluation

SETS = (Place.FORGET, Place.RETAIN, Place.HOLDOUT, Place.NEIGHBOURS)


class MeasuredModels(BaseModel):
    """The measurements that say most, before and after; None where there is no number.

    Attributes:
        forget_probability, retain_probability, model_utility: (before, after).
        took: role of a model → what measuring it took.
    """

    forget_probability: tuple[float | None, float | None]
    retain_probability: tuple[float | None, float | None]
    model_utility: tuple[float | None, float | None]
    took: dict[str, Measured]

    def __str__(self) -> str:
        changes = {
            "forget probability": self.forget_probability,
            "retain probability": self.retain_probability,
            "model utility": self.model_utility,
        }
        told = [f"{name} {_number(before)} → {_number(after)}" for name, (before, after) in changes.items()]
        return ", ".join(told) + "".join(f"\n  {role}: {cost}" for role, cost in self.took.items())


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
        for stale in workspace.measured(RETAIN_MODEL):
            stale.unlink(missing_ok=True)
    evaluations, took = dict[str, "Evaluation"](), dict[str, Measured]()
    for role in roles:
        evaluations[role], took[role] = _evaluate(workspace, role, sets, params)
    metrics = compare(
        evaluations[PARENT],
        evaluations[UNLEARNED],
        evaluations.get(RETAIN_MODEL),
        no_retain_model=retain_model.description,
    )
    _put_people(metrics, evaluations, sets)
    attacks = workspace.read(AttackMetrics)
    for role, robustness in attacks.metrics.items():
        metrics[role]["robustness"] = robustness
        prefix = "robustness." if role == UNLEARNED else f"{role}.robustness."
        for told, reasons in (("unavailable", attacks.unavailable), ("incomplete", attacks.incomplete)):
            metrics[told] |= {f"{prefix}{name}": reason for name, reason in reasons[role].items()}
    models = {role: _model(workspace, role) for role in roles}
    judged = put_fluency(metrics, models, evaluations, sets["forget"], params)
    for role, cost in measure_ordinary_chat(models, params, metrics).items():
        took[role] += judged[role] + cost
        write_json(workspace.measured(role)[0], took[role].model_dump(mode="json"))
    _compare_methods(workspace, sets, params)
    write_json(workspace.path(Place.METRICS), metrics)
    before, after = metrics[PARENT], metrics[UNLEARNED]
    return MeasuredModels(
        forget_probability=(before["forget"]["probability"], after["forget"]["probability"]),
        retain_probability=(before["retain"]["probability"], after["retain"]["probability"]),
        model_utility=(before["model_utility"], after["model_utility"]),
        took=took,
    )


def _put_people(
    metrics: dict[str, Any], evaluations: "Mapping[str, Evaluation]", sets: Mapping[str, list[CorpusRecord]]
) -> None:
    """Add what each model knows of single people; a record that names nobody is a person of its own."""
    from unilogit.evaluation.people import people_findings

    records = [record for name in ("forget_all", "retain", "holdout") for record in sets.get(name, ())]
    subjects = {
        record.record_id: record.subject_ids or [record.conversation_id or record.record_id] for record in records
    }
    for role in sorted(evaluations, key=UNLEARNED.__ne__):  # what is so of all models is told once
        findings, worst = people_findings(evaluations[role].examples, subjects)
        if role == UNLEARNED:
            names = pseudonyms()
            metrics["worst"] = {
                path: {"person": names.subject(person), "value": value} for path, (person, value) in worst.items()
            }
        prefix = "" if role == UNLEARNED else f"{role}."
        metrics[role] |= findings.metrics
        for told, reasons in (("unavailable", findings.unavailable), ("incomplete", findings.incomplete)):
            new = {path: reason for path, reason in reasons.items() if metrics[told].get(path) != reason}
            metrics[told] |= {f"{prefix}{path}": reason for path, reason in new.items()}


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
        metrics = _evaluate(workspace, f"baseline-{method}", sets, params)[0].metrics
        rows.append((method, metrics["forget"]["probability"], metrics["model_utility"]))
    file = workspace.path(Place.BASELINES)
    if rows:
        columns = ["name", "forget_probability", "model_utility"]
        write_text(file, pd.DataFrame(rows, columns=columns).to_csv(index=False))
    else:
        file.unlink(missing_ok=True)


def _evaluate(
    workspace: Workspace, role: str, sets: Mapping[str, list[CorpusRecord]], params: Params
) -> tuple["Evaluation", Measured]:
    """Measure one model on every set, and what that took; write its records."""

    from unilogit.evaluation import evaluate
    from unilogit.model import load_model

    utility_sets = ["retain", *params.data.utility_groups]
    evaluate.require_utility_sets(utility_sets, sets)
    name, compared = _model(workspace, role), _compared_with(workspace, role)

    @cache
    def opened(location: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
        return load_model(location)

    def measure(part: evaluate.Sets, retain_model: str | None) -> tuple[Measured, dict[str, pd.DataFrame]]:
        model, tokenizer = opened(name)
        measured = evaluate.measure_sets(
            model,
            params.model.formatted(tokenizer),
            part,
            batch_tokens=params.evaluate.batch_tokens,
            max_new_tokens=params.evaluate.max_new_tokens,
            utility_sets=utility_sets,
            retain_model=opened(retain_model)[0] if retain_model else None,
            max_length=params.model.max_length,
            progress=f"evaluate {role}",
        )
        cost = Measured(seconds=measured.seconds, generated_tokens=measured.generated_tokens)
        return cost, {"examples": measured.examples}

    parts, took = [], Measured()
    for part in evaluate.sets_apart(sets):
        retain_model = compared if evaluate.FORGET in part else None
        inputs: Json = {
            "model": model_digest(name),
            "retain_model": retain_model and model_digest(retain_model),
            "sets": {kind: digest_of_records(records) for kind, records in part.items()},
            "groups": [kind for kind in part if kind in params.data.utility_groups],
            "params": [params.value(key) for key in ("evaluate.batch_tokens", "evaluate.max_new_tokens", *TOKENS)],
            "code": code_digest("unilogit.evaluation.evaluate"),
        }
        work = partial(measure, part, retain_model)
        measured = measure_once(inputs, Measured, work, ("examples",))
        cost = measured.result
        parts.append(evaluate.MeasuredSets(measured.frames["examples"], cost.seconds, cost.generated_tokens))
        took += Measured(earlier=[" and ".join(part)]) if measured.is_earlier else cost
    evaluation = evaluate.join_measured(parts, list(sets), utility_sets)
    write_parquet(workspace.measured(role)[1], evaluation.examples)
    return evaluation, took


def _model(workspace: Workspace, role: str) -> str:
    """The model in a role: a folder or hub name."""
    if role == PARENT:
        return workspace.read(ParentModel).model
    if role == RETAIN_MODEL:
        return str(workspace.read(RetainModel).model)
    owner = workspace if role == UNLEARNED else workspace.baseline(role.removeprefix("baseline-"))
    return str(owner.path(Place.MODEL))


def _compared_with(workspace: Workspace, role: str) -> str | None:
    """The retain model, where there is one that the model in this role is compared with record by record."""
    return workspace.read(RetainModel).model if role in (PARENT, UNLEARNED) else None


STEP = Step(
    name="evaluate",
    function=run_evaluate,
    reads=(
        *SETS,
        *(Place.PARENT, Place.MODEL, Place.RETAIN_MODEL, Place.ATTACK_METRICS, Source.PRETRAINED),
    ),
    writes=(Place.METRICS, Place.MEASURED),
    params=("seed", "evaluate", "unlearn", "data.utility_groups", *TOKENS),
)

if __name__ == "__main__":
    STEP.command()
