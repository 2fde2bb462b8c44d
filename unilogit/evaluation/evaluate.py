"""All metrics of one model on all sets.

Knows records and models; nothing of files, workspaces or gates. Definitions are in the modules beside.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unilogit.data.records import CorpusRecord
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.golden_divergence import golden_divergence
from unilogit.evaluation.membership_inference import ATTACKS, attack_auc, attack_scores, gradient_norms
from unilogit.evaluation.memorisation import exact_memorisation, extraction_strength
from unilogit.evaluation.model_utility import model_utility
from unilogit.evaluation.probability import normalized_probability
from unilogit.evaluation.rouge import rouge_l_recall
from unilogit.evaluation.stopwatch import Stopwatch
from unilogit.evaluation.token_scores import TokenScores, score_tokens
from unilogit.evaluation.truth_ratio import forget_truth_ratio, truth_ratio, utility_truth_ratio

FORGET, RETAIN, HOLDOUT = "forget", "retain", "holdout"
ATTACKS_ON_ONE_MODEL = tuple(attack for attack in ATTACKS if attack != "reference")
DIVERGENCES = ("kl_golden_to_model", "kl_model_to_golden")
COLUMNS = [
    *("set", "record_id", "nll", "n_tokens", "probability", "rouge_l_recall", "truth_ratio"),
    *("normalised_probability", "exact_memorisation", "extraction_strength", "n_perturbed", "generated"),
    *(f"attack_{attack}" for attack in ATTACKS_ON_ONE_MODEL),
    *DIVERGENCES,
]
NOT_FINITE = "the model's likelihoods are not finite numbers"
_EMPTY = "this set has no records"
_NO_WRONG_ANSWERS = "no record of this set has perturbed_responses"
_NO_UTILITY = "no utility set has any records"
NO_HOLDOUT = (
    "it compares the forget set with people whom the model never saw (data.holdout); one of the two has no records"
)


class Evaluation(NamedTuple):
    """What was measured of one model.

    Attributes:
        examples: a row for each record of each set: set, record_id, nll (per answer token, nats), n_tokens,
            probability, rouge_l_recall, truth_ratio, normalised_probability, exact_memorisation,
            extraction_strength, n_perturbed, generated, and an attack_… column for each attack of membership
            inference, on forget set and holdout, and both directions of `golden_divergence` per token, on the
            forget set; NaN or None where not measured.
        metrics: set -> metric -> number; model_utility; membership_inference. None where there is no number.
        unavailable: dotted path of each None -> why.
        seconds: what took how long.
        generated_tokens: how many were generated, ends of sequence included.
    """

    examples: pd.DataFrame
    metrics: dict[str, Any]
    unavailable: dict[str, str]
    seconds: dict[str, float]
    generated_tokens: int


def evaluate_model(
    model: Any,
    tokenizer: Any,
    sets: Mapping[str, Sequence[CorpusRecord]],
    *,
    batch_size: int,
    max_new_tokens: int,
    utility_sets: Sequence[str],
    golden: Any = None,
    progress: str | None = None,
) -> Evaluation:
    """Measure one model.

    A record in several sets is scored once. For the truth ratio, the right answer is the paraphrased response
    (the response where there is none), except for groups of general knowledge, where it is the response.

    Args:
        sets: name -> records, among them "forget" and "holdout", of which only the likelihood is measured.
        utility_sets: those that model utility is made of: "retain", and names of groups of general knowledge.
        golden: the retain model, to measure the divergence from; None leaves that out.
        progress: what the progress bars on standard error say; None for no bars.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    watch = Stopwatch(progress)
    rows = [(name, record) for name, records in sets.items() for record in records]
    groups = set(utility_sets) - {RETAIN}
    responses = list(dict.fromkeys((record.prompt, record.response) for _, record in rows))
    others = {(r.prompt, answer) for name, r in rows for answer in _answers(name, r, groups)} - set(responses)
    score_of: dict[tuple[str, str], TokenScores] = {}
    for pairs, with_distribution, what in ((responses, True, "responses"), (sorted(others), False, "other answers")):
        with watch(f"score {what}") as label:
            scores = score_tokens(
                model,
                tokenizer,
                *_columns(pairs),
                batch_size,
                with_distribution=with_distribution,
                progress=label,
            )
        score_of |= zip(pairs, scores, strict=True)
    prompts = list(dict.fromkeys(record.prompt for name, record in rows if name != HOLDOUT))
    with watch("generate") as label:
        texts = generate_greedily(
            model, tokenizer, prompts, batch_size=batch_size, max_new_tokens=max_new_tokens, progress=label
        )
    generated_tokens = sum(len(tokenizer.encode(text, add_special_tokens=False)) + 1 for text in texts)
    text_of = dict(zip(prompts, texts, strict=True))
    examples = pd.DataFrame([_example(name, r, groups, score_of, text_of) for name, r in rows], columns=COLUMNS)
    pairs_of = {
        name: [(record.prompt, record.response) for of, record in rows if of == name] for name in (FORGET, HOLDOUT)
    }
    with watch("gradient norms") as label:
        for name, pairs in pairs_of.items():
            norms = gradient_norms(model, tokenizer, *_columns(pairs), progress=label and f"{label} of {name}")
            examples.loc[examples["set"] == name, "attack_gradient_norm"] = norms
    if golden is not None:
        with watch("divergence from the golden target") as label:
            divergence = golden_divergence(
                model, golden, tokenizer, *_columns(pairs_of[FORGET]), batch_size, progress=label
            )
        for name in DIVERGENCES:
            examples.loc[examples["set"] == FORGET, name] = (divergence[name] / divergence["n_tokens"]).to_numpy()
    is_generated = examples["generated"].notna()
    references = [record.response for name, record in rows if name != HOLDOUT]
    with watch("ROUGE"):
        recall = rouge_l_recall(references, examples["generated"][is_generated].tolist())
    examples.loc[is_generated, "rouge_l_recall"] = recall
    measured = {name: _measure(name, examples[examples["set"] == name], utility_sets) for name in sets}
    metrics, unavailable = _without_nan(
        {
            **measured,
            "model_utility": model_utility(measured[name] for name in utility_sets if name in measured),
            "membership_inference": {
                f"{attack}_auc": auc_of(examples, f"attack_{attack}") for attack in ATTACKS_ON_ONE_MODEL
            },
        },
        utility_sets,
    )
    return Evaluation(examples, metrics, unavailable, watch.seconds, generated_tokens)


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [prompt for prompt, _ in pairs], [answer for _, answer in pairs]


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
    score_of: Mapping[tuple[str, str], TokenScores],
    text_of: Mapping[str, str],
) -> dict[str, Any]:
    response, *compared = (score_of[record.prompt, answer] for answer in _answers(name, record, groups))
    correct, wrong = (compared[0], compared[1:]) if compared else (response, [])
    inner, wrong_nll = response.without_end(), [score.nll for score in wrong]
    probability = math.exp(-response.nll)
    attacks = attack_scores(response, record.response) if name in (FORGET, HOLDOUT) else {}
    return {
        "set": name,
        "record_id": record.record_id,
        "nll": response.nll,
        "n_tokens": len(response.log_p),
        "probability": probability,
        "rouge_l_recall": math.nan,
        "truth_ratio": truth_ratio(correct.nll, wrong_nll),
        "normalised_probability": normalized_probability(probability, [math.exp(-nll) for nll in wrong_nll]),
        "exact_memorisation": exact_memorisation(inner.is_greedy),
        "extraction_strength": extraction_strength(inner.is_greedy),
        "n_perturbed": len(wrong),
        "generated": None if name == HOLDOUT else text_of[record.prompt],
        **{f"attack_{attack}": score for attack, score in attacks.items()},
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
        metrics["exact_memorisation"] = _mean(examples["exact_memorisation"].dropna())
        metrics["extraction_strength"] = _mean(examples["extraction_strength"])
    if name in utility_sets and name != RETAIN and len(compared):
        metrics["normalised_probability"] = _mean(compared["normalised_probability"])
    return {**metrics, "n": len(examples)}


def _mean(values: pd.Series) -> float | None:
    return float(values.mean(skipna=False)) if len(values) else None


def auc_of(examples: pd.DataFrame, column: str) -> float | None:
    """`attack_auc` of a column, forget set against holdout; None where one is empty, NaN for scores that are none."""
    members, others = (examples.loc[examples["set"] == name, column].to_numpy() for name in (FORGET, HOLDOUT))
    if not (len(members) and len(others)):
        return None
    return attack_auc(members, others) if np.isfinite(np.r_[members, others]).all() else math.nan


def _without_nan(metrics: dict[str, Any], utility_sets: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Metrics with None for every NaN, and why each None is one."""
    unavailable: dict[str, str] = {}

    def settle(value: Any, path: str, n: int | None) -> Any:
        if isinstance(value, dict):
            return {key: settle(each, f"{path}.{key}", value.get("n")) for key, each in value.items()}
        if value is not None and not math.isnan(value):
            return value
        if value is not None:
            unavailable[path] = NOT_FINITE
        elif n is None:
            unavailable[path] = NO_HOLDOUT if path.startswith("membership_inference") else _NO_UTILITY
        else:
            left_out = "; model_utility leaves it out" if path.partition(".")[0] in utility_sets else ""
            unavailable[path] = (_NO_WRONG_ANSWERS if n else _EMPTY) + left_out
        return None

    return {name: settle(value, name, None) for name, value in metrics.items()}, unavailable
