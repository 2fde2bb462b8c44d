"""All metrics of one model on all sets.

Knows how the values of records make the metrics of a set, and what is not available and why. Knows nothing of how
these values are measured (examples.py), of files or of gates.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.evaluation.examples import (
    ATTACKS_ON_ONE_MODEL,
    FORGET,
    HOLDOUT,
    NEIGHBOURS,
    RETAIN,
    Pair,
    Plan,
    Sets,
    measure_examples,
)
from unilogit.evaluation.findings import Findings, Metrics, left_out
from unilogit.evaluation.membership_inference import attack_auc
from unilogit.evaluation.model_utility import model_utility
from unilogit.evaluation.registry import RECORD_METRICS
from unilogit.evaluation.rouge import NO_WORDS, WITHOUT_WORDS
from unilogit.evaluation.stopwatch import Stopwatch, add_seconds
from unilogit.evaluation.truth_ratio import forget_truth_ratio, utility_truth_ratio

NO_HOLDOUT = (
    "it compares the forget set with people whom the model never saw (data.holdout); one of the two has no records"
)
_EMPTY = "this set has no records"
_NO_UTILITY = "no utility set has any records"
_NO_VALUE = ("it has no value for any record of this set", "it has no value for them")
# Metric → why it has no value for a set, and why it leaves records of one out.
_WHY = {
    "rouge_l_recall": (NO_WORDS, WITHOUT_WORDS),
    "truth_ratio": ("no record of this set has perturbed_responses", "they have no perturbed_responses"),
    "normalised_probability": ("no record of this set has perturbed_responses", "they have no perturbed_responses"),
    **dict.fromkeys(RECORD_METRICS, _NO_VALUE),
}


class _SetMetric(NamedTuple):
    """A metric of one set.

    Attributes:
        value: None where no record has one, NaN where the model gives NaN.
        records: how many have one.
    """

    value: float | None
    records: int


class Evaluation(NamedTuple):
    """What was measured of one model.

    Attributes:
        examples: a row for each record of each set: set, record_id, nll (per answer token, nats), n_tokens,
            probability, rouge_l_recall, truth_ratio, normalised_probability, each of RECORD_METRICS,
            n_perturbed, generated, and an attack_… column for each attack of membership inference, on forget set
            and holdout, and both directions of `divergence` from the retain model per token, on the forget set; NaN or
            None where not measured.
        metrics: set -> metric -> number; model_utility; membership_inference. None where there is no number.
        unavailable: dotted path of each None -> why.
        incomplete: dotted path of each number that leaves something out -> what, and why.
        seconds: what took how long.
        generated_tokens: how many were generated, ends of sequence included.
    """

    examples: pd.DataFrame
    metrics: Metrics
    unavailable: dict[str, str]
    incomplete: dict[str, str]
    seconds: dict[str, float]
    generated_tokens: int


class MeasuredSets(NamedTuple):
    """What was measured of one model on some sets.

    Attributes:
        examples, seconds, generated_tokens: as in `Evaluation`.
    """

    examples: pd.DataFrame
    seconds: dict[str, float]
    generated_tokens: int


def evaluate_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sets: Sets,
    *,
    batch_tokens: int | None = None,
    max_new_tokens: int = 48,
    utility_sets: Collection[str] = (RETAIN,),
    retain_model: PreTrainedModel | None = None,
    max_length: int | None = None,
    progress: str | None = None,
) -> Evaluation:
    """Measure one model.

    A record in several sets is scored once. For the truth ratio, the right answer is the paraphrased response
    (the response where there is none), except for groups of general knowledge, where it is the response.

    Args:
        model: a causal language model; left as it is.
        sets: name -> records. Of "neighbours", retained ones like the forgotten, the truth ratio is that of a utility
            set. Of "forget" and "holdout", people whom the model never saw, membership inference is
            made; without either it is not available. Of "holdout" only the likelihood is measured.
        batch_tokens: at once, as in `in_batches`.
        max_new_tokens: where a generated answer without end is cut.
        utility_sets: those that model utility is made of: "retain", and names of groups of general knowledge.
        retain_model: the retain model, to measure the divergence from; None leaves that out.
        max_length: tokens of a window of a long record; the model's context where that is less, or where this is None.
        progress: what the progress bars on standard error say; None for no bars.

    Raises:
        InputError: a utility set is not among the sets, a prompt leaves an answer no room in the model's context, or
            the tokenizer has no end-of-sequence token.
    """
    require_utility_sets(utility_sets, sets)
    parts = [
        measure_sets(
            model,
            tokenizer,
            part,
            batch_tokens=batch_tokens,
            max_new_tokens=max_new_tokens,
            utility_sets=utility_sets,
            retain_model=retain_model,
            max_length=max_length,
            progress=progress,
        )
        for part in sets_apart(sets)
    ]
    return join_measured(parts, list(sets), utility_sets)


def require_utility_sets(utility_sets: Collection[str], sets: Sets) -> None:
    """Refuse utility sets that are not among the sets.

    Raises:
        InputError: one is not.
    """
    if absent := [name for name in utility_sets if name not in sets]:
        raise InputError(
            f"utility_sets: {', '.join(absent)} is not among the sets ({', '.join(sets) or 'none'}); "
            "add its records, or leave it out of utility_sets"
        )


def sets_apart(sets: Sets) -> list[dict[str, Sequence[CorpusRecord]]]:
    """The sets in parts that are measured one by one: sets with an answer in common are together, as it is scored once.

    What is measured of a part depends on nothing in the others, to the last bit.
    """
    parts: list[tuple[set[Pair], list[str]]] = []
    for name, records in sets.items():
        pairs, names = {(record.context, record.response) for record in records}, [name]
        for part in [part for part in parts if not pairs.isdisjoint(part[0])]:
            parts.remove(part)
            pairs, names = pairs | part[0], [*part[1], *names]
        parts.append((pairs, names))
    return [{name: sets[name] for name in names} for _, names in parts]


def measure_sets(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sets: Sets,
    *,
    batch_tokens: int | None,
    max_new_tokens: int,
    utility_sets: Collection[str],
    retain_model: PreTrainedModel | None,
    max_length: int | None,
    progress: str | None,
) -> MeasuredSets:
    """Measure one model on one of `sets_apart`.

    Args:
        sets: the part; the others are as in `evaluate_model`.

    Raises:
        InputError: as there.
    """
    watch = Stopwatch(progress)
    plan = Plan(
        model=model,
        tokenizer=tokenizer,
        sets=sets,
        groups=set(utility_sets) - {RETAIN},
        retain_model=retain_model,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        max_length=max_length,
        watch=watch,
    )
    examples, generated_tokens = measure_examples(plan)
    return MeasuredSets(examples, watch.seconds, generated_tokens)


def join_measured(parts: Sequence[MeasuredSets], names: Sequence[str], utility_sets: Collection[str]) -> Evaluation:
    """The evaluation that parts make.

    Args:
        parts: of all sets.
        names: of the sets, in order.
        utility_sets: as in `evaluate_model`.
    """
    measured = pd.concat([part.examples for part in parts], ignore_index=True)
    examples = pd.concat([measured[measured["set"] == name] for name in names], ignore_index=True)
    findings = aggregate(examples, names, utility_sets)
    return Evaluation(
        examples,
        findings.metrics,
        findings.unavailable,
        findings.incomplete,
        add_seconds([part.seconds for part in parts]),
        sum(part.generated_tokens for part in parts),
    )


def membership_auc(examples: pd.DataFrame, column: str) -> float | None:
    """`attack_auc` of a column, forget set against holdout; None where one is empty, NaN for scores that are none."""
    members, unseen = (examples.loc[examples["set"] == name, column].to_numpy() for name in (FORGET, HOLDOUT))
    if not (len(members) and len(unseen)):
        return None
    return attack_auc(members, unseen) if np.isfinite(np.r_[members, unseen]).all() else math.nan


def aggregate(examples: pd.DataFrame, names: Sequence[str], utility_sets: Collection[str]) -> Findings:
    """The metrics of each set, model utility and membership inference.

    Args:
        examples: as in `Evaluation`, of all records or of some.
        names: of the sets.
        utility_sets: as in `evaluate_model`.
    """
    findings = Findings()
    measured = {name: _measure(name, examples[examples["set"] == name], utility_sets) for name in names}
    for name, metrics in measured.items():
        total = int((examples["set"] == name).sum())
        for metric, (value, records) in metrics.items():
            no_value, some_values = _WHY.get(metric, ("", ""))
            reason = no_value if total else _EMPTY
            if name in utility_sets and metric not in RECORD_METRICS:
                reason += "; model_utility leaves it out"
            findings.put((name, metric), value, reason, left_out(total - records, total, some_values))
        findings.put((name, "n"), total)
    utility = {name: {metric: part.value for metric, part in measured[name].items()} for name in utility_sets}
    lacking = [
        f"{name}.{metric}"
        for name, metrics in utility.items()
        for metric, value in metrics.items()
        if value is None and metric not in RECORD_METRICS
    ]
    made_without = f"it is made without {', '.join(lacking)}" if lacking else ""
    findings.put(("model_utility",), model_utility(utility.values()), _NO_UTILITY, made_without)
    for attack in ATTACKS_ON_ONE_MODEL:
        auc = membership_auc(examples, f"attack_{attack}")
        findings.put(("membership_inference", f"{attack}_auc"), auc, NO_HOLDOUT)
    return findings


def _measure(name: str, examples: pd.DataFrame, utility_sets: Collection[str]) -> dict[str, _SetMetric]:
    """The metrics of one set."""
    compared = examples[examples["n_perturbed"] > 0]
    metrics = {"probability": _mean(examples["probability"])}
    if name != HOLDOUT:
        aggregate = utility_truth_ratio if name in {*utility_sets, NEIGHBOURS} else forget_truth_ratio
        ratios = compared["truth_ratio"].to_numpy()
        metrics["rouge_l_recall"] = _mean(examples["rouge_l_recall"].dropna())
        metrics["truth_ratio"] = _SetMetric(aggregate(ratios) if len(ratios) else None, len(ratios))
        metrics |= {metric: _mean(examples[metric].dropna()) for metric in RECORD_METRICS}
    if name in utility_sets and name != RETAIN and len(compared):
        metrics["normalised_probability"] = _mean(compared["normalised_probability"])
    return metrics


def _mean(values: pd.Series) -> _SetMetric:
    return _SetMetric(float(values.mean(skipna=False)) if len(values) else None, len(values))
