"""Does what was forgotten stay forgotten when somebody tries to bring it back? All attacks on one model.

Knows which attacks there are and what they need; definitions and sources are in the modules beside. Knows
nothing of files, gates or plots.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.evaluation.attacks.clues import clues
from unilogit.evaluation.attacks.logit_lens import logit_lens
from unilogit.evaluation.attacks.paraphrased_prompts import paraphrased_prompts
from unilogit.evaluation.attacks.prefix_attack import prefix_attack
from unilogit.evaluation.attacks.quantisation import quantisation
from unilogit.evaluation.attacks.question_formats import question_formats
from unilogit.evaluation.attacks.relearning import ADAPTERS, relearning
from unilogit.evaluation.attacks.sampling import doublings, sampling
from unilogit.evaluation.config import EvaluateConfig
from unilogit.evaluation.findings import Findings, left_out
from unilogit.evaluation.rouge import NO_WORDS, WITHOUT_WORDS

# Attack -> the columns that its curve is drawn over.
ATTACKS = {
    "paraphrased_prompts": ["wording"],
    "question_formats": ["wording"],
    "clues": ["clues"],
    "prefix_attack": ["prefix_tokens"],
    "sampling": ["samples"],
    "logit_lens": ["layer"],
    "quantisation": ["bits"],
    "relearning": ["relearned", "trained", "step"],
}
CURVES = {  # attack -> what its curve goes over, and what it shows
    "relearning": ("step", "probability"),
    "quantisation": ("bits", "probability"),
    "paraphrased_prompts": ("wording", "probability"),
    "question_formats": ("wording", "probability"),
    "clues": ("clues", "probability"),
    "prefix_attack": ("prefix_tokens", "rouge_l_recall"),
    "sampling": ("samples", "rouge_l_recall"),
    "logit_lens": ("layer", "probability"),
}
_VALUES = ("probability", "rouge_l_recall")
_BY_ADAPTERS = "adapters were trained, as memory does not hold a copy of all weights to train"
_NO_PARAPHRASE = "no record has a paraphrased_prompt"
_NO_CLUES = "no record has another one about the same people, with room for both in the model's context"
_NO_QUESTION = "no record has a prompt to ask in another form"
_WITHOUT_ROWS = {  # attack -> its metrics, and why they are none, where no record can be attacked
    "paraphrased_prompts": {f"paraphrased_{value}": _NO_PARAPHRASE for value in _VALUES},
    "question_formats": {f"question_formats_{value}": _NO_QUESTION for value in _VALUES},
    "clues": {f"clues_{value}": _NO_CLUES for value in _VALUES},
    "logit_lens": {"logit_lens_probability": "the model's logits are more than its head's output"},
    "prefix_attack": {
        "prefix_attack_rouge_l_recall": "no record has an answer with a word left after the tokens that are given away"
    },
}


@dataclass(frozen=True)
class RobustnessSettings:
    """Which attacks are made and how hard they are.

    Attributes:
        attacks: those switched on, of ATTACKS.
        batch_tokens: at once, as in `in_batches`.
        max_new_tokens: where a generated answer without end is cut.
        max_length: tokens of a window of a long record; the model's context where that is less, or where this is None.
        seed: of what relearning draws, and of samples.
        clues: how many other records are told before.
        prefix_tokens: how many answer tokens are given away.
        samples: of how many the best counts.
        languages: that answers are asked for in, of `question_formats.LANGUAGES`.
        quantisation_bits: of a weight, each from 2 to 8.
        quantisation_group: weights of a row that share a scale, below 8 bits.
        relearning_steps: optimizer steps after which to score.
        relearning_share: of the records, trained on; at least one record.
        relearning_rate: learning rate; what large models are tuned with. Small ones need more, or nothing is attacked.
        relearning_step_size: records in a step.

    Raises:
        InputError: an attack is not known.
    """

    attacks: tuple[str, ...] = tuple(ATTACKS)
    batch_tokens: int | None = None
    max_new_tokens: int = 200
    max_length: int | None = None
    seed: int = 0
    clues: tuple[int, ...] = (1, 2, 4)
    prefix_tokens: tuple[int, ...] = (0, 1, 2, 4, 8)
    samples: tuple[int, ...] = (1, 2, 4, 8, 16)
    languages: tuple[str, ...] = ()
    quantisation_bits: tuple[int, ...] = (8, 4)
    quantisation_group: int = 128
    relearning_steps: tuple[int, ...] = (0, 1, 2, 5, 10, 20)
    relearning_share: float = 0.1
    relearning_rate: float = 1e-5
    relearning_step_size: int = 8

    @classmethod
    def from_config(cls, config: EvaluateConfig, *, seed: int, max_length: int | None) -> "RobustnessSettings":
        """What `config` says, the other settings by default."""
        return cls(
            attacks=tuple(config.robustness.attacks),
            batch_tokens=config.batch_tokens,
            max_new_tokens=config.max_new_tokens,
            max_length=max_length,
            seed=seed,
            samples=doublings(config.robustness.samples),
            languages=tuple(config.robustness.languages),
            relearning_rate=config.robustness.relearning_rate,
        )

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.attacks) - set(ATTACKS)):
            raise InputError(f"unknown attack: {', '.join(unknown)}; choose from {', '.join(ATTACKS)}")


def measure_robustness(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    settings: RobustnessSettings,
    progress: str | None = None,
) -> dict[str, pd.DataFrame]:
    """Attack the model with each attack that is switched on; the model itself is left as it is.

    Args:
        model: a causal language model of transformers; quantisation and relearning work on copies of it.
        records: what it should have forgotten.
        progress: what progress bars on standard error begin with; None for no bars.

    Returns:
        Attack -> its per-example values, as its function gives them; without rows where it has no examples.

    Raises:
        InputError: a setting does not fit the model, a prompt leaves an answer no room in its context, or the tokenizer
            has no end-of-sequence token.
    """
    max_new_tokens, max_length = settings.max_new_tokens, settings.max_length
    measures: dict[str, Callable[..., pd.DataFrame]] = {
        "paraphrased_prompts": partial(paraphrased_prompts, max_new_tokens=max_new_tokens, max_length=max_length),
        "question_formats": partial(
            question_formats, languages=settings.languages, max_new_tokens=max_new_tokens, max_length=max_length
        ),
        "clues": partial(clues, counts=settings.clues, max_new_tokens=max_new_tokens, max_length=max_length),
        "prefix_attack": partial(prefix_attack, prefix_tokens=settings.prefix_tokens, max_new_tokens=max_new_tokens),
        "sampling": partial(sampling, samples=settings.samples, seed=settings.seed, max_new_tokens=max_new_tokens),
        "logit_lens": partial(logit_lens, max_length=max_length),
        "quantisation": partial(quantisation, bits=settings.quantisation_bits, group_size=settings.quantisation_group),
        "relearning": partial(
            relearning,
            steps=settings.relearning_steps,
            share=settings.relearning_share,
            learning_rate=settings.relearning_rate,
            step_size=settings.relearning_step_size,
            seed=settings.seed,
            max_length=max_length,
        ),
    }

    def measure(attack: str) -> pd.DataFrame:
        label = progress and f"{progress}: {attack.replace('_', ' ')}"
        return measures[attack](model, tokenizer, records, batch_tokens=settings.batch_tokens, progress=label)

    return {attack: measure(attack) for attack in settings.attacks}


def robustness_curve(attack: str, examples: pd.DataFrame) -> pd.DataFrame:
    """The mean over records at each point of an attack.

    Args:
        examples: what `measure_robustness` gives for the attack.

    Returns:
        A row for each point, in ascending order: the columns of ATTACKS[attack], the mean of each of probability (NaN
        if one is) and rouge_l_recall (over the records that have one) that the attack measures, n, the records in it,
        and without_words, how many of them have no rouge_l_recall.
    """
    points = [name for name in ATTACKS[attack] if name in examples]  # an earlier release had fewer
    values = [name for name in _VALUES if name in examples]
    groups = examples.groupby(points, sort=True)
    curve = groups[values].agg(_mean).assign(n=groups.size())
    measured = groups["rouge_l_recall"].count() if "rouge_l_recall" in examples else curve["n"]
    return curve.assign(without_words=curve["n"] - measured).reset_index()


def robustness_curves(examples: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """`robustness_curve` of each attack; of relearning, over the records that the attacker did not train on.

    Args:
        examples: what `measure_robustness` gives.
    """
    curves = {attack: robustness_curve(attack, frame) for attack, frame in examples.items()}
    if "relearning" in curves:  # the records that were trained on come back in any model
        curves["relearning"] = curves["relearning"][~curves["relearning"]["relearned"].astype(bool)]
    return curves


def robustness_metrics(curves: Mapping[str, pd.DataFrame]) -> Findings:
    """The hardest point of each attack.

    Args:
        curves: from `robustness_curves`; of an attack without rows there is no metric, or none but its reason.
    """
    findings = Findings()
    for attack, curve in curves.items():
        if not len(curve):
            for name, reason in _WITHOUT_ROWS.get(attack, {}).items():
                findings.put((name,), None, reason)
        elif attack == "quantisation":
            quantised = curve[curve["bits"] <= 8]  # the model as it is has more
            for bits, probability in zip(quantised["bits"], quantised["probability"], strict=True):
                findings.put((f"quantised_{bits}_bit_probability",), float(probability))
        elif attack == "paraphrased_prompts":
            for name in _VALUES:
                _put(findings, f"paraphrased_{name}", name, curve[curve["wording"] == "paraphrased"].iloc[-1])
        elif attack in ("question_formats", "clues", "logit_lens"):  # each number where most is given away
            for name in _VALUES:
                if name in curve:
                    worst = curve.sort_values(name, na_position="first").iloc[-1]
                    _put(findings, f"{attack}_{name}", name, worst)
        else:
            name = {"relearning": "relearned_probability"}.get(attack, f"{attack}_rouge_l_recall")
            _put(findings, name, CURVES[attack][1], curve.iloc[-1])
    return findings


def _put(findings: Findings, name: str, measured: str, point: pd.Series) -> None:
    """A mean at one point of a curve."""
    if measured == "rouge_l_recall":
        total, missing = int(point["n"]), int(point["without_words"])
        value = float(point[measured]) if missing < total else None
        findings.put((name,), value, NO_WORDS, left_out(missing, total, WITHOUT_WORDS))
    else:
        by_adapters = point.get("trained") == ADAPTERS
        findings.put((name,), float(point[measured]), left_out=_BY_ADAPTERS if by_adapters else "")


def _mean(values: pd.Series) -> float:
    # A model whose likelihoods are not numbers has no mean; an answer without words has no ROUGE-L.
    return float(values.mean(skipna=values.name == "rouge_l_recall"))
