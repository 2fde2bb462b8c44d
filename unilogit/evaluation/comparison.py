"""Models side by side: before, after and golden target, and what can only be said of two of them.

Knows what was measured of each; nothing of files or of how it was measured.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from unilogit.evaluation.evaluate import DIVERGENCES, FORGET, NO_HOLDOUT, NOT_FINITE, RETAIN, Evaluation, auc_of
from unilogit.evaluation.forget_quality import forget_quality
from unilogit.evaluation.membership_inference import privleak

_QUALITY = ("p_value", "log10_p_value", "ks_statistic")

Outcome = tuple[float | None, str]  # a value, or None and why


def compare(
    before: Evaluation,
    after: Evaluation,
    golden: Evaluation | None,
    no_golden: str = "there is no golden target",
) -> dict[str, Any]:
    """Set the models side by side: what metrics.json holds.

    Adds what needs the golden target to each of them (forget_quality, privleak, membership_inference.reference_auc
    and golden_divergence), and to after `retained`: after / before of model utility and of the probability of
    retain answers. Nothing takes the golden target's place where there is none.

    Args:
        no_golden: why `golden` is None.
    """
    measured = {"before": before, "after": after} | ({"golden": golden} if golden else {})
    metrics: dict[str, Any] = {}
    unavailable = dict(after.unavailable)
    for role, evaluation in measured.items():
        metrics[role], reasons = beside_golden(evaluation, golden, no_golden)
        if role == "after":
            unavailable |= reasons
        else:
            known = {path: why for path, why in reasons.items() if path not in after.unavailable}
            unavailable |= {f"{role}.{path}": why for path, why in known.items()}
    for path, (value, why) in _retained(before, after).items():
        _put(metrics["after"], path, value)
        if value is None:
            unavailable[path] = why
    return {"schema_version": 1, "golden": None, **metrics, "unavailable": unavailable}


def beside_golden(
    evaluation: Evaluation, golden: Evaluation | None, no_golden: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """One model's metrics with those that need the golden target, and why each None is one.

    Args:
        golden: of the golden target, which may be `evaluation` itself; None where there is none.
        no_golden: why there is none.
    """
    metrics = {name: dict(part) if isinstance(part, dict) else part for name, part in evaluation.metrics.items()}
    unavailable = dict(evaluation.unavailable)
    for path, (value, why) in _with_golden(evaluation, golden, no_golden).items():
        _put(metrics, path, value)
        if value is None:
            unavailable[path] = why
    return metrics, unavailable


def _put(metrics: dict[str, Any], path: str, value: float | None) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        metrics = metrics.setdefault(parent, {})
    metrics[name] = value


def _with_golden(evaluation: Evaluation, golden: Evaluation | None, no_golden: str) -> dict[str, Outcome]:
    """What needs the golden target: path -> (value, why it is None)."""
    if golden is None:
        absent = [
            *(f"forget_quality.{name}" for name in _QUALITY),
            *(f"golden_divergence.{name}" for name in DIVERGENCES),
        ]
        return dict.fromkeys((*absent, "membership_inference.reference_auc", "privleak"), (None, no_golden))
    quality, why = _forget_quality(evaluation, golden)
    outcomes: dict[str, Outcome] = {f"forget_quality.{name}": (quality.get(name), why) for name in _QUALITY}
    outcomes["membership_inference.reference_auc"] = _finite(_reference_auc(evaluation, golden), NO_HOLDOUT)
    outcomes["privleak"] = _finite(
        _of_both(evaluation, golden, "membership_inference", "min_k_auc", privleak), "Min-K% is not available"
    )
    forget = evaluation.examples[evaluation.examples["set"] == FORGET]
    for name in DIVERGENCES:
        known = forget[name].notna().any()
        mean = float(np.average(forget[name], weights=forget["n_tokens"])) if known else None
        if evaluation is golden:
            mean = 0.0
        outcomes[f"golden_divergence.{name}"] = _finite(mean, "this model was not measured beside the golden target")
    return outcomes


def _finite(value: float | None, why_none: str) -> Outcome:
    """The value as a plain number, or why it is none."""
    if value is None:
        return None, why_none
    return (float(value), "") if math.isfinite(value) else (None, NOT_FINITE)


def _of_both(
    evaluation: Evaluation, golden: Evaluation, part: str, name: str, function: Callable[[float, float], float]
) -> float | None:
    values = [each.metrics[part][name] for each in (evaluation, golden)]
    return None if None in values else function(*values)


def _reference_auc(evaluation: Evaluation, golden: Evaluation) -> float | None:
    """Of the attack that compares each NLL with the golden target's."""
    if len(evaluation.examples) != len(golden.examples):
        return None
    examples = evaluation.examples[["set"]].assign(
        score=evaluation.examples["nll"].to_numpy() - golden.examples["nll"].to_numpy()
    )
    return auc_of(examples, "score")


def _retained(before: Evaluation, after: Evaluation) -> dict[str, Outcome]:
    """after / before of what should stay."""
    kept = {
        "model_utility": [each.metrics["model_utility"] for each in (before, after)],
        "retain_probability": [each.metrics.get(RETAIN, {}).get("probability") for each in (before, after)],
    }
    outcomes: dict[str, Outcome] = {}
    for name, (was, is_now) in kept.items():
        if was is None or is_now is None:
            outcomes[f"retained.{name}"] = None, "it is after / before, and one of them is not available"
        elif not was:
            outcomes[f"retained.{name}"] = None, "it is after / before, and before is 0"
        else:
            outcomes[f"retained.{name}"] = is_now / was, ""
    return outcomes


def _forget_quality(evaluation: Evaluation, golden: Evaluation) -> tuple[dict[str, float], str]:
    """The test's outcome, or nothing and why."""
    ratios = [
        each.examples.loc[
            (each.examples["set"] == FORGET) & (each.examples["n_perturbed"] > 0), "truth_ratio"
        ].to_numpy()
        for each in (evaluation, golden)
    ]
    if not all(len(sample) for sample in ratios):
        return {}, "no record of the forget set has perturbed_responses, which the truth ratio needs"
    if not all(np.isfinite(sample).all() for sample in ratios):
        return {}, NOT_FINITE
    return forget_quality(*ratios), ""
