"""What a model says and thinks of each record, one row a record: likelihoods, answers, attacks' scores.

Knows records, sets and models; nothing of what a set's metrics are. Definitions are in the modules beside.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.records import CorpusRecord
from unilogit.evaluation.divergence import divergence
from unilogit.evaluation.generation import generate_greedily, reachable_answers
from unilogit.evaluation.membership_inference import ATTACKS, attack_scores, gradient_norms
from unilogit.evaluation.probability import normalized_probability
from unilogit.evaluation.registry import RECORD_METRICS
from unilogit.evaluation.rouge import rouge_l_recall
from unilogit.evaluation.stopwatch import Stopwatch
from unilogit.evaluation.token_scores import TokenScores, score_tokens
from unilogit.evaluation.truth_ratio import truth_ratio

FORGET, FORGET_ALL, RETAIN, NEIGHBOURS, HOLDOUT = "forget", "forget_all", "retain", "neighbours", "holdout"
ATTACKS_ON_ONE_MODEL = tuple(attack for attack in ATTACKS if attack != "reference")
DIVERGENCES = ("kl_retain_model_to_model", "kl_model_to_retain_model")
_NUMBERS = ("nll", "probability", "rouge_l_recall", "truth_ratio", "normalised_probability", *RECORD_METRICS)
COLUMNS = {  # name → type, the same whichever sets are measured
    **{"set": "object", "record_id": "object", "n_tokens": "int64", "n_perturbed": "int64", "generated": "object"},
    **dict.fromkeys(_NUMBERS, "float64"),
    **{f"attack_{attack}": "float64" for attack in ATTACKS_ON_ONE_MODEL},
    **dict.fromkeys(DIVERGENCES, "float64"),
}

Pair = tuple[Prompt, str]  # what is asked, and an answer
Sets = Mapping[str, Sequence[CorpusRecord]]


class Answered(NamedTuple):
    """What a model makes of one record: what the metrics of single records see.

    Attributes:
        record: with prompt and response.
        scores: of the response's tokens.
        generated: what the model answers to the prompt, greedily.
    """

    record: CorpusRecord
    scores: TokenScores
    generated: str


@dataclass(frozen=True)
class Plan:
    """What is measured, and how.

    Attributes:
        model, tokenizer, sets, retain_model, batch_tokens, max_new_tokens, max_length: as in `evaluate_model`.
        groups: the utility sets that are of general knowledge.
        watch: what times the parts.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sets: Sets
    groups: Collection[str]
    retain_model: PreTrainedModel | None
    batch_tokens: int | None
    max_new_tokens: int
    max_length: int | None
    watch: Stopwatch

    def answers(self, name: str, record: CorpusRecord) -> list[str]:
        """The response; where there are wrong answers to compare with, then the right one and the wrong ones."""
        if name == HOLDOUT or not record.perturbed_responses:
            return [record.response]
        paraphrased = None if name in self.groups else record.paraphrased_response
        return [record.response, paraphrased or record.response, *record.perturbed_responses]

    def responses(self, name: str) -> tuple[list[Prompt], list[str], list[str]]:
        """Prompts and responses of a set, and what an error calls each; none where the set is not there."""
        records = self.sets.get(name, ())
        return (
            [record.context for record in records],
            [record.response for record in records],
            [_name(record) for record in records],
        )


def measure_examples(plan: Plan) -> tuple[pd.DataFrame, int]:
    """Measure every record of every set; each answer once, however many sets it is in.

    Returns:
        `Evaluation.examples`, and how many tokens were generated, ends of sequence included.

    Raises:
        InputError: a prompt leaves an answer no room in the model's context, or the tokenizer has no end-of-sequence
            token.
    """
    scores, texts = _score(plan), _generate(plan)
    rows = [_example(plan, name, record, scores, texts) for name, records in plan.sets.items() for record in records]
    examples = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    _add_gradient_norms(plan, examples)
    if plan.retain_model is not None and FORGET in plan.sets:
        _add_divergences(plan, plan.retain_model, examples)
    with plan.watch("ROUGE"):
        answered = [record for name, records in plan.sets.items() if name != HOLDOUT for record in records]
        references = reachable_answers(
            plan.model,
            plan.tokenizer,
            [record.context for record in answered],
            [record.response for record in answered],
            plan.max_new_tokens,
        )
        is_generated = examples["generated"].notna()
        recall = rouge_l_recall(references, examples["generated"][is_generated].tolist())
        examples.loc[is_generated, "rouge_l_recall"] = recall
    n_generated = sum(len(plan.tokenizer.encode(text, add_special_tokens=False)) + 1 for text in texts.values())
    return examples, n_generated


def _name(record: CorpusRecord) -> str:
    return f"record {record.record_id}"


def _score(plan: Plan) -> dict[Pair, TokenScores]:
    """The tokens of every answer that a metric needs; mean and deviation where an attack compares the response."""
    names: dict[Pair, str] = {}
    for name, records in plan.sets.items():
        for record in records:
            for answer in plan.answers(name, record):
                names.setdefault((record.context, answer), _name(record))
    attacked = {record.context for name in (FORGET, HOLDOUT) for record in plan.sets.get(name, ())}
    scores: dict[Pair, TokenScores] = {}
    for are_attacked in (True, False):
        pairs = [pair for pair in names if (pair[0] in attacked) == are_attacked]
        if not pairs:
            continue
        with plan.watch("score attacked answers" if are_attacked else "score answers") as label:
            measured = score_tokens(
                plan.model,
                plan.tokenizer,
                [prompt for prompt, _ in pairs],
                [answer for _, answer in pairs],
                batch_tokens=plan.batch_tokens,
                max_length=plan.max_length,
                names=[names[pair] for pair in pairs],
                with_distribution=are_attacked,
                progress=label,
            )
            scores |= zip(pairs, measured, strict=True)
    return scores


def _generate(plan: Plan) -> dict[Prompt, str]:
    """What the model answers to each prompt, those of the holdout aside."""
    names: dict[Prompt, str] = {}
    for name, records in plan.sets.items():
        for record in records if name != HOLDOUT else ():
            names.setdefault(record.context, _name(record))
    prompts = list(names)
    if not prompts:
        return {}
    with plan.watch("generate") as label:
        texts = generate_greedily(
            plan.model,
            plan.tokenizer,
            prompts,
            batch_tokens=plan.batch_tokens,
            max_new_tokens=plan.max_new_tokens,
            names=list(names.values()),
            progress=label,
        )
    return dict(zip(prompts, texts, strict=True))


def _example(
    plan: Plan, name: str, record: CorpusRecord, scores: Mapping[Pair, TokenScores], texts: Mapping[Prompt, str]
) -> dict[str, object]:
    """A row of `Evaluation.examples`, less what is measured of whole columns."""
    response, *compared = (scores[record.context, answer] for answer in plan.answers(name, record))
    correct, wrong = (compared[0], compared[1:]) if compared else (response, [])
    wrong_nll = [score.nll for score in wrong]
    probability = math.exp(-response.nll)
    generated = None if name == HOLDOUT else texts[record.context]
    measured = {} if generated is None else _measure(Answered(record, response, generated))
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
        **measured,
        "n_perturbed": len(wrong),
        "generated": generated,
        **{f"attack_{attack}": score for attack, score in attacks.items()},
    }


def _measure(answered: Answered) -> dict[str, float]:
    return {name: measure(answered) for name, measure in RECORD_METRICS.items()}


def _add_gradient_norms(plan: Plan, examples: pd.DataFrame) -> None:
    """The score of the gradient-norm attack, on forget set and holdout."""
    for name in [name for name in (FORGET, HOLDOUT) if name in plan.sets]:
        prompts, responses, _ = plan.responses(name)
        with plan.watch("gradient norms") as label:
            norms = gradient_norms(
                plan.model,
                plan.tokenizer,
                prompts,
                responses,
                max_length=plan.max_length,
                progress=label and f"{label} of {name}",
            )
        examples.loc[examples["set"] == name, "attack_gradient_norm"] = norms


def _add_divergences(plan: Plan, retain_model: PreTrainedModel, examples: pd.DataFrame) -> None:
    """Both directions of the divergence from the retain model, per token, on the forget set."""
    prompts, responses, names = plan.responses(FORGET)
    with plan.watch("divergence from the retain model") as label:
        sums = divergence(
            plan.model,
            retain_model,
            plan.tokenizer,
            prompts,
            responses,
            batch_tokens=plan.batch_tokens,
            max_length=plan.max_length,
            names=names,
            progress=label,
        )
    for name, column in zip(DIVERGENCES, ("kl_reference_to_model", "kl_model_to_reference"), strict=True):
        examples.loc[examples["set"] == FORGET, name] = (sums[column] / sums["n_tokens"]).to_numpy()
