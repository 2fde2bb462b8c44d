"""A study's table: one method at its best settings, one seed, with all metrics, attacks and gates.

Every cell is a file, so that a killed study goes on with the next one.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from tasks.fluency import put_fluency
from tasks.params import Params
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.steps.targets import STEP as TARGETS
from tasks.steps.unlearn import STEP as UNLEARN
from tasks.study.data import StudyData, make_workspace, models_of, read_data
from tasks.study.plan import StudyPlan
from tasks.study.tuning import tune
from tasks.workspace import Place
from unilogit.files import JsonObject, read_json, write_json
from unilogit.gates import judge

FULL, RETAINED, SECOND = "fine-tuned", "retain model", "retain model of another seed"
YARDSTICKS = (FULL, RETAINED, SECOND)
Cell = JsonObject  # seconds, settings, metrics (of metrics.json), failed (names of gates), answers


def measure_cell(plan: StudyPlan, method: str, seed: int) -> Cell:
    """What became of a method on a seed, or what one of YARDSTICKS is.

    Returns:
        `settings` that it was run with, `seconds` of unlearning (None for a yardstick), the `metrics` of
        metrics.json, the `failed` gates on forgetting, and ten `answers` about the forgotten.
    """
    file = plan.folder / f"seed-{seed}" / "cells" / f"{method.replace(' ', '-').replace(',', '')}.json"
    neighbour = plan.seeds[(plan.seeds.index(seed) + 1) % len(plan.seeds)]
    if method in YARDSTICKS:
        settings = [f"seed={neighbour}"] if method == SECOND else []
    else:
        settings = tune(plan, method)
    if file.exists() and (kept := read_json(file))["settings"] == settings:
        return dict(kept)
    models, cost, folder = models_of(plan, seed), None, file.with_suffix("")
    if method in YARDSTICKS:
        yardsticks = {FULL: models.full, RETAINED: models.retain_model}
        model = yardsticks[method] if method in yardsticks else models_of(plan, neighbour).retain_model
    else:
        shutil.rmtree(folder, ignore_errors=True)
        workspace, started = make_workspace(plan, seed, folder), monotonic()
        for step in (TARGETS, UNLEARN):
            step.run(workspace, plan.load(seed, settings))
        cost, model = monotonic() - started, workspace.path(Place.MODEL)
    roles = {PARENT: models.full, UNLEARNED: model, RETAIN_MODEL: models.retain_model}
    measured = _measure(roles, read_data(plan), plan.load(seed), plan.folder / f"seed-{seed}" / "measured")
    cell: Cell = {"settings": settings, "seconds": cost, "retraining_seconds": models.seconds, **measured}
    write_json(file, cell)
    shutil.rmtree(folder, ignore_errors=True)
    return cell


def _measure(roles: Mapping[str, Path], data: StudyData, params: Params, kept: Path) -> Cell:
    """The model in the role `after` beside the others, which are measured once for all of them."""
    from unilogit.evaluation.attacks.measure import robustness_curves, robustness_metrics
    from unilogit.evaluation.comparison import compare
    from unilogit.evaluation.people import people_findings

    outcomes = {role: _evaluate(role, model, roles, data, params, kept) for role, model in roles.items()}
    metrics = compare(*(outcomes[role][0] for role in (PARENT, UNLEARNED, RETAIN_MODEL)))
    records = [record for records in data.suite.sets.values() for record in records]
    subjects = {record.record_id: record.subject_ids or [record.record_id] for record in records}
    for role, (evaluation, attacked) in outcomes.items():
        prefix = "" if role == UNLEARNED else f"{role}."
        robustness = robustness_metrics(robustness_curves(attacked))
        metrics[role]["robustness"] = robustness.metrics
        people, _ = people_findings(evaluation.examples, subjects)
        metrics[role] |= people.metrics
        metrics["unavailable"] |= {f"{prefix}{path}": reason for path, reason in people.unavailable.items()}
    evaluations = {role: evaluation for role, (evaluation, _) in outcomes.items()}
    put_fluency(
        metrics, {role: str(model) for role, model in roles.items()}, evaluations, data.suite.sets["forget"], params
    )
    report = judge([gate for gate in params.gates if gate.scope != "utility"], metrics)
    answers = {
        role: evaluations[role].examples.query("set == 'forget'")["generated"].head(10).tolist() for role in roles
    }
    return {
        "metrics": metrics,
        "failed": [gate.name for gate in report.gates if not gate.passed],
        "answers": {**answers, "prompts": [record.prompt for record in data.suite.sets["forget"][:10]]},
    }


def _evaluate(
    role: str, model: Path, roles: Mapping[str, Path], data: StudyData, params: Params, kept: Path
) -> tuple[Any, Any]:
    """One model's evaluation and attacks, by record; those of parent and retain model are kept for the next cell."""
    import pandas as pd

    from unilogit.evaluation.attacks.measure import RobustnessSettings, measure_robustness
    from unilogit.evaluation.evaluate import MeasuredSets, evaluate_model, join_measured
    from unilogit.files import write_parquet
    from unilogit.memory import give_back
    from unilogit.model import load_model

    if model == roles[PARENT]:
        role = PARENT  # nothing was unlearned: nothing is measured twice
    sets, settings = {**data.suite.sets, "forget_all": data.suite.sets["forget"]}, params.evaluate
    file, attacks = kept / f"{role}.parquet", settings.robustness.attacks
    if role != UNLEARNED and file.exists():
        examples = pd.read_parquet(file)
        evaluation = join_measured([MeasuredSets(examples, {}, 0)], list(sets), data.suite.utility_sets)
        return evaluation, {name: pd.read_parquet(kept / f"{role}-{name}.parquet") for name in attacks}
    loaded, tokenizer = load_model(str(model))
    formatted = params.model.formatted(tokenizer)
    evaluation = evaluate_model(
        loaded,
        formatted,
        sets,
        batch_tokens=settings.batch_tokens,
        max_new_tokens=settings.max_new_tokens,
        utility_sets=data.suite.utility_sets,
        retain_model=load_model(str(roles[RETAIN_MODEL]))[0] if role != RETAIN_MODEL else None,
        progress=f"evaluate {role}",
    )
    hard = RobustnessSettings.from_config(settings, seed=params.seed, max_length=params.model.max_length)
    records = data.suite.sets["forget"][: settings.robustness.max_examples]
    frames = measure_robustness(loaded, formatted, records, hard, f"attack {role}")
    if role != UNLEARNED:
        for name, attacked in frames.items():
            write_parquet(kept / f"{role}-{name}.parquet", attacked)
        write_parquet(file, evaluation.examples)
    give_back()
    return evaluation, frames
