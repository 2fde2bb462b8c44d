"""All metrics of one model on all sets, and of models side by side.

Knows records and models; nothing of files, workspaces or gates. Definitions are in the modules beside.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unilogit.data.records import CorpusRecord
from unilogit.evaluation.forget_quality import forget_quality
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.membership_inference import loss_auc
from unilogit.evaluation.model_utility import model_utility
from unilogit.evaluation.probability import normalized_probability, score_answers
from unilogit.evaluation.rouge import rouge_l_recall
from unilogit.evaluation.truth_ratio import forget_truth_ratio, truth_ratio, utility_truth_ratio

FORGET, RETAIN, HOLDOUT = "forget", "retain", "holdout"
COLUMNS = [
    *("set", "record_id", "nll", "n_tokens", "probability", "rouge_l_recall", "truth_ratio"),
    *("normalised_probability", "n_perturbed", "generated"),
]
_QUALITY = ("p_value", "log10_p_value", "ks_statistic")
_NOT_FINITE = "the model's likelihoods are not finite numbers"
_EMPTY = "this set has no records"
_NO_WRONG_ANSWERS = "no record of this set has perturbed_responses"
_NO_SETS = {
    "model_utility": "no utility set has any records",
    "membership_inference.loss_auc": "it compares the forget set with people whom the model never saw"
    " (data.holdout); one of the two has no records",
}


class Evaluation(NamedTuple):
    """What was measured of one model.

    Attributes:
        examples: a row for each record of each set: set, record_id, nll (per answer token, nats), n_tokens,
            probability, rouge_l_recall, truth_ratio, normalised_probability, n_perturbed, generated; NaN
            or None where not measured.
        metrics: set -> metric -> number; model_utility; membership_inference. None where there is no number.
        unavailable: dotted path of each None -> why.
    """

    examples: pd.DataFrame
    metrics: dict[str, Any]
    unavailable: dict[str, str]


def evaluate_model(
    model: Any,
    tokenizer: Any,
    sets: Mapping[str, Sequence[CorpusRecord]],
    *,
    batch_size: int,
    max_new_tokens: int,
    utility_sets: Sequence[str],
    progress: str | None = None,
) -> Evaluation:
    """Measure one model.

    A record in several sets is scored once. For the truth ratio, the right answer is the paraphrased response
    (the response where there is none), except for groups of general knowledge, where it is the response.

    Args:
        sets: name -> records, among them "forget" and "holdout", of which only the likelihood is measured.
        utility_sets: those that model utility is made of: "retain", and names of groups of general knowledge.
        progress: what the progress bars on standard error say; None for no bars.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    rows = [(name, record) for name, records in sets.items() for record in records]
    groups = set(utility_sets) - {RETAIN}
    pairs = list(dict.fromkeys((r.prompt, answer) for name, r in rows for answer in _answers(name, r, groups)))
    scores = score_answers(
        model,
        tokenizer,
        [prompt for prompt, _ in pairs],
        [answer for _, answer in pairs],
        batch_size,
        progress=progress and f"{progress}: score answers",
    )
    score_of = dict(zip(pairs, scores.itertuples(), strict=True))
    prompts = list(dict.fromkeys(record.prompt for name, record in rows if name != HOLDOUT))
    texts = generate_greedily(
        model,
        tokenizer,
        prompts,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        progress=progress and f"{progress}: generate",
    )
    text_of = dict(zip(prompts, texts, strict=True))
    examples = pd.DataFrame([_example(name, r, groups, score_of, text_of) for name, r in rows], columns=COLUMNS)
    is_generated = examples["generated"].notna()
    references = [record.response for name, record in rows if name != HOLDOUT]
    examples.loc[is_generated, "rouge_l_recall"] = rouge_l_recall(
        references, examples["generated"][is_generated].tolist()
    )
    measured = {name: _measure(name, examples[examples["set"] == name], utility_sets) for name in sets}
    metrics, unavailable = _without_nan(
        {
            **measured,
            "model_utility": model_utility(measured[name] for name in utility_sets if name in measured),
            "membership_inference": {"loss_auc": _loss_auc(examples)},
        },
        utility_sets,
    )
    return Evaluation(examples, metrics, unavailable)


def _answers(name: str, record: CorpusRecord, groups: set[str]) -> list[str]:
    """The response; where there are wrong answers to compare with, then the right one and the wrong ones."""
    if name == HOLDOUT or not record.perturbed_responses:
        return [record.response]
    paraphrased = None if name in groups else record.paraphrased_response
    return [record.response, paraphrased or record.response, *record.perturbed_responses]


def _example(
    name: str,
    record: CorpusRecord,
    groups: set[str],
    score_of: Mapping[tuple[str, str], Any],
    text_of: Mapping[str, str],
) -> dict[str, Any]:
    response, *compared = (score_of[record.prompt, answer] for answer in _answers(name, record, groups))
    correct, wrong = (compared[0], compared[1:]) if compared else (response, [])
    return {
        "set": name,
        "record_id": record.record_id,
        "nll": response.nll,
        "n_tokens": response.n_tokens,
        "probability": response.probability,
        "rouge_l_recall": math.nan,
        "truth_ratio": truth_ratio(correct.nll, [score.nll for score in wrong]),
        "normalised_probability": normalized_probability(response.probability, [score.probability for score in wrong]),
        "n_perturbed": len(wrong),
        "generated": None if name == HOLDOUT else text_of[record.prompt],
    }


def _measure(name: str, examples: pd.DataFrame, utility_sets: Sequence[str]) -> dict[str, float | None]:
    """The metrics of one set; None where it has no data for them, NaN where the model gives NaN."""
    compared = examples[examples["n_perturbed"] > 0]
    metrics: dict[str, float | None] = {"probability": _mean(examples["probability"])}
    if name != HOLDOUT:
        aggregate = utility_truth_ratio if name in utility_sets else forget_truth_ratio
        ratios = compared["truth_ratio"].to_numpy()
        metrics["rouge_l_recall"] = _mean(examples["rouge_l_recall"])
        metrics["truth_ratio"] = aggregate(ratios) if len(ratios) else None
    if name in utility_sets and name != RETAIN and len(compared):
        metrics["normalised_probability"] = _mean(compared["normalised_probability"])
    return {**metrics, "n": len(examples)}


def _mean(values: pd.Series) -> float | None:
    return float(values.mean(skipna=False)) if len(values) else None


def _loss_auc(examples: pd.DataFrame) -> float | None:
    members, others = (examples.loc[examples["set"] == name, "nll"].to_numpy() for name in (FORGET, HOLDOUT))
    if not (len(members) and len(others)):
        return None
    return loss_auc(members, others) if np.isfinite(np.r_[members, others]).all() else math.nan


def _without_nan(metrics: dict[str, Any], utility_sets: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Metrics with None for every NaN, and why each None is one."""
    unavailable: dict[str, str] = {}

    def settle(value: Any, path: str, n: int | None) -> Any:
        if isinstance(value, dict):
            return {key: settle(each, f"{path}.{key}", value.get("n")) for key, each in value.items()}
        if value is not None and not math.isnan(value):
            return value
        if value is not None:
            unavailable[path] = _NOT_FINITE
        elif n is None:
            unavailable[path] = _NO_SETS[path]
        else:
            left_out = "; model_utility leaves it out" if path.partition(".")[0] in utility_sets else ""
            unavailable[path] = (_NO_WRONG_ANSWERS if n else _EMPTY) + left_out
        return None

    return {name: settle(value, name, None) for name, value in metrics.items()}, unavailable


def compare(
    before: Evaluation,
    after: Evaluation,
    golden: Evaluation | None,
    no_golden: str = "there is no golden target",
) -> dict[str, Any]:
    """Set the models side by side: what metrics.json holds.

    Adds forget_quality (against the golden target) to before and after, and to after `retained`: after /
    before of model utility and of the probability of retain answers.

    Args:
        no_golden: why `golden` is None.
    """
    metrics: dict[str, Any] = {"before": dict(before.metrics), "after": dict(after.metrics)}
    unavailable = dict(after.unavailable)
    for name, evaluation in (("before", before), ("golden", golden)):
        for path, why in (evaluation.unavailable if evaluation else {}).items():
            if path not in unavailable:
                unavailable[f"{name}.{path}"] = why
    for name, evaluation in (("before", before), ("after", after)):
        quality, why = (None, no_golden) if golden is None else _forget_quality(evaluation, golden)
        if golden is not None:
            metrics[name]["forget_quality"] = quality or dict.fromkeys(_QUALITY)
        if quality is None:
            prefix = "" if name == "after" else f"{name}."
            unavailable |= {f"{prefix}forget_quality.{metric}": why for metric in _QUALITY}
    kept = {
        "model_utility": [each.metrics["model_utility"] for each in (before, after)],
        "retain_probability": [each.metrics.get(RETAIN, {}).get("probability") for each in (before, after)],
    }
    metrics["after"]["retained"] = {}
    for metric, (was, is_now) in kept.items():
        known = was is not None and is_now is not None
        metrics["after"]["retained"][metric] = is_now / was if known and was else None
        if not known:
            unavailable[f"retained.{metric}"] = "it is after / before, and one of them is not available"
        elif not was:
            unavailable[f"retained.{metric}"] = "it is after / before, and before is 0"
    return {
        "schema_version": 1,
        **metrics,
        "golden": golden.metrics if golden else None,
        "unavailable": unavailable,
    }


def _forget_quality(evaluation: Evaluation, golden: Evaluation) -> tuple[dict[str, float] | None, str]:
    """The test's outcome, or None and why."""
    ratios = [
        each.examples.loc[
            (each.examples["set"] == FORGET) & (each.examples["n_perturbed"] > 0), "truth_ratio"
        ].to_numpy()
        for each in (evaluation, golden)
    ]
    if not all(len(sample) for sample in ratios):
        return None, "no record of the forget set has perturbed_responses, which the truth ratio needs"
    if not all(np.isfinite(sample).all() for sample in ratios):
        return None, _NOT_FINITE
    return forget_quality(*ratios), ""
