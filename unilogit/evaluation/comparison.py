"""Models side by side: before, after and retain model, and what can only be said of two of them.

Knows what was measured of each; nothing of files or of how it was measured.
"""

import numpy as np
import pandas as pd

from unilogit.evaluation.evaluate import NO_HOLDOUT, Evaluation, membership_auc
from unilogit.evaluation.examples import DIVERGENCES, FORGET, HOLDOUT, RETAIN
from unilogit.evaluation.findings import NOT_FINITE, Findings, Metrics
from unilogit.evaluation.forget_quality import forget_quality, least_p_value
from unilogit.evaluation.membership_inference import auc_error, privleak, why_no_privleak

_QUALITY = ("p_value", "log10_p_value", "ks_statistic")
_NEEDS_RETAIN_MODEL = (
    *(("forget_quality", name) for name in _QUALITY),
    *(("retain_divergence", name) for name in DIVERGENCES),
    ("membership_inference", "reference_auc"),
    ("privleak",),
)
_LEVEL = 0.01  # a test that cannot come below tells nothing
_UNSURE = 15.0  # points of PrivLeak: a standard error beyond it is told
_OTHER_RECORDS = "the model and the retain model were measured on different records"


def compare(
    before: Evaluation,
    after: Evaluation,
    retain_model: Evaluation | None,
    no_retain_model: str = "there is no retain model",
) -> Metrics:
    """Set the models side by side: what metrics.json holds.

    Adds what needs the retain model to each of them (forget_quality, privleak, membership_inference.reference_auc
    and retain_divergence), and to after `retained`: after / before of model utility and of the probability of
    retain answers. Nothing takes the retain model's place where there is none.

    Args:
        before, after: of the model before unlearning and after it.
        retain_model: of the retain model, measured on the same records; None where there is none.
        no_retain_model: why there is none.

    Returns:
        schema_version, the metrics of each by its role (before, after, retain_model, which is None where there
        is none), and by dotted path, those of after without its role: `unavailable`, why there is no number, and
        `incomplete`, what a number leaves out, and why; and of after alone, `standard_errors` of what chance moves.
    """
    measured = {"before": before, "after": after} | ({"retain_model": retain_model} if retain_model else {})
    findings = {
        role: compare_with_retain_model(evaluation, retain_model, no_retain_model)
        for role, evaluation in measured.items()
    }
    _put_retained(findings["after"], before, after)
    unavailable, incomplete = dict(findings["after"].unavailable), dict(findings["after"].incomplete)
    for role in sorted(set(findings) - {"after"}):
        for told, reasons, known in (
            (unavailable, findings[role].unavailable, after.unavailable),
            (incomplete, findings[role].incomplete, after.incomplete),
        ):
            told |= {f"{role}.{path}": reason for path, reason in reasons.items() if path not in known}
    metrics = {role: gathered.metrics for role, gathered in findings.items()}
    return {
        "schema_version": 1,
        "retain_model": None,
        **metrics,
        "unavailable": unavailable,
        "incomplete": incomplete,
        "standard_errors": _standard_errors(after, metrics["after"], retain_model),
    }


def compare_with_retain_model(
    evaluation: Evaluation, retain_model: Evaluation | None, no_retain_model: str
) -> Findings:
    """One model's metrics with those that need the retain model.

    Args:
        retain_model: of the retain model, which may be `evaluation` itself; None where there is none.
        no_retain_model: why there is none.
    """
    findings = Findings(evaluation.metrics, evaluation.unavailable, evaluation.incomplete)
    if retain_model is None:
        for path in _NEEDS_RETAIN_MODEL:
            findings.put(path, None, no_retain_model)
        return findings
    quality, reason = _forget_quality(evaluation, retain_model)
    for name in _QUALITY:
        power = _power_of_quality(evaluation, retain_model) if name != "ks_statistic" else ""
        findings.put(("forget_quality", name), quality.get(name), reason, power)
    auc, reason = _reference_auc(evaluation, retain_model)
    findings.put(("membership_inference", "reference_auc"), auc, reason)
    aucs = [model.metrics["membership_inference"]["min_k_auc"] for model in (evaluation, retain_model)]
    no_leak = "Min-K% is not available" if None in aucs else why_no_privleak(aucs[1])
    leak, power = (None, "") if no_leak else (privleak(*aucs), _power_of_privleak(evaluation, *aucs))
    findings.put(("privleak",), leak, no_leak or "", power)
    forget = evaluation.examples[evaluation.examples["set"] == FORGET]
    for name in DIVERGENCES:
        is_measured = forget[name].notna().any()
        mean = float(np.average(forget[name], weights=forget["n_tokens"])) if is_measured else None
        if evaluation is retain_model:
            mean = 0.0
        findings.put(("retain_divergence", name), mean, "this model was not measured beside the retain model")
    return findings


def _reference_auc(evaluation: Evaluation, retain_model: Evaluation) -> tuple[float | None, str]:
    """Of the attack that compares each NLL with the retain model's; or None and why."""
    records = [model.examples[["set", "record_id"]].to_numpy().tolist() for model in (evaluation, retain_model)]
    if records[0] != records[1]:
        return None, _OTHER_RECORDS
    nll, reference = (model.examples["nll"].to_numpy() for model in (evaluation, retain_model))
    return membership_auc(evaluation.examples[["set"]].assign(score=nll - reference), "score"), NO_HOLDOUT


def _forget_quality(evaluation: Evaluation, retain_model: Evaluation) -> tuple[dict[str, float], str]:
    """The test's outcome, or nothing and why."""
    ratios = [_forget_truth_ratios(model.examples) for model in (evaluation, retain_model)]
    if not all(len(sample) for sample in ratios):
        return {}, "no record of the forget set has perturbed_responses, which the truth ratio needs"
    if not all(np.isfinite(sample).all() for sample in ratios):
        return {}, NOT_FINITE
    return forget_quality(*ratios), ""


def _power_of_quality(evaluation: Evaluation, retain_model: Evaluation) -> str:
    """That so few records could not tell any model from the retain model; "" where they can."""
    sizes = [len(_forget_truth_ratios(model.examples)) for model in (evaluation, retain_model)]
    if not all(sizes) or (least := least_p_value(*sizes)) <= _LEVEL:
        return ""
    return f"{sizes[0]} records cannot bring p below {least:.2g}, whatever the model knows"


def _power_of_privleak(evaluation: Evaluation, auc: float, retain_auc: float) -> str:
    """How far it may be off by chance, where that is far; else ""."""
    members, unseen = _members_and_unseen(evaluation)
    error = _privleak_error(evaluation, auc, retain_auc)
    if error <= _UNSURE:
        return ""
    return f"with {members} records to forget and {unseen} of unseen people it is off by {error:.0f} by chance"


def _privleak_error(evaluation: Evaluation, auc: float, retain_auc: float) -> float:
    return 100 * auc_error(auc, *_members_and_unseen(evaluation)) / (1 - retain_auc)


def _members_and_unseen(evaluation: Evaluation) -> tuple[int, int]:
    """How many records of the forget set and of unseen people there are."""
    members, unseen = (int((evaluation.examples["set"] == name).sum()) for name in (FORGET, HOLDOUT))
    return members, unseen


def _standard_errors(evaluation: Evaluation, metrics: Metrics, retain_model: Evaluation | None) -> dict[str, float]:
    """Of each attack's AUC and of PrivLeak, by dotted path; none of what there is no number of.

    Args:
        metrics: of the evaluation, with those that need the retain model.
    """
    aucs = metrics["membership_inference"]
    sizes = _members_and_unseen(evaluation)
    errors = {f"membership_inference.{name}": auc_error(auc, *sizes) for name, auc in aucs.items() if auc is not None}
    if retain_model and metrics["privleak"] is not None:
        retain_auc = retain_model.metrics["membership_inference"]["min_k_auc"]
        errors["privleak"] = _privleak_error(evaluation, aucs["min_k_auc"], retain_auc)
    return errors


def _forget_truth_ratios(examples: pd.DataFrame) -> np.ndarray:
    is_compared = (examples["set"] == FORGET) & (examples["n_perturbed"] > 0)
    return examples.loc[is_compared, "truth_ratio"].to_numpy()


def _put_retained(findings: Findings, before: Evaluation, after: Evaluation) -> None:
    """after / before of what should stay."""
    kept = {
        "model_utility": [model.metrics["model_utility"] for model in (before, after)],
        "retain_probability": [model.metrics.get(RETAIN, {}).get("probability") for model in (before, after)],
    }
    left_out = {"model_utility": after.incomplete.get("model_utility", "")}
    for name, (was, is_now) in kept.items():
        path = ("retained", name)
        if was is None or is_now is None:
            findings.put(path, None, "it is after / before, and one of them is not available")
        elif not was:
            findings.put(path, None, "it is after / before, and before is 0")
        else:
            findings.put(path, is_now / was, left_out=left_out.get(name, ""))
