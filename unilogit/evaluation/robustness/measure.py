"""Does what was forgotten stay forgotten when somebody tries to bring it back? All attacks on one model.

Knows which attacks there are and what they need; definitions and sources are in the modules beside. Knows
nothing of files, gates or plots.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.evaluation.robustness.paraphrased_prompts import paraphrased_prompts
from unilogit.evaluation.robustness.prefix_attack import prefix_attack
from unilogit.evaluation.robustness.quantisation import quantisation
from unilogit.evaluation.robustness.relearning import relearning
from unilogit.evaluation.robustness.sampling import sampling

# Attack -> the columns that its curve is drawn over.
ATTACKS = {
    "paraphrased_prompts": ["wording"],
    "prefix_attack": ["prefix_tokens"],
    "sampling": ["samples"],
    "quantisation": ["bits"],
    "relearning": ["relearned", "step"],
}
CURVES = {  # attack -> what its curve goes over, and what it shows
    "relearning": ("step", "probability"),
    "quantisation": ("bits", "probability"),
    "paraphrased_prompts": ("wording", "probability"),
    "prefix_attack": ("prefix_tokens", "rouge_l_recall"),
    "sampling": ("samples", "rouge_l_recall"),
}
_VALUES = ("probability", "rouge_l_recall")


@dataclass(frozen=True)
class RobustnessSettings:
    """Which attacks are made and how hard they are."""

    attacks: tuple[str, ...] = tuple(ATTACKS)  # those switched on
    batch_size: int = 16  # examples scored, or answers generated, at once
    max_new_tokens: int = 200  # where a generated answer without end is cut
    seed: int = 0  # of what relearning draws and of samples
    prefix_tokens: tuple[int, ...] = (0, 1, 2, 4, 8)  # answer tokens given
    samples: tuple[int, ...] = (1, 2, 4, 8, 16)  # of which the best counts
    quantisation_bits: tuple[int, ...] = (8, 4)  # of a weight, from 2 to 8
    quantisation_group: int = 128  # weights of a row that share a scale, below 8 bits
    relearning_steps: tuple[int, ...] = (0, 1, 2, 5, 10, 20)  # optimizer steps after which to score
    relearning_share: float = 0.1  # of the forget set, trained on; at least one record
    relearning_rate: float = 1e-5  # what large models are tuned with; small ones need more, or nothing is attacked
    relearning_step_size: int = 8  # records in a step

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.attacks) - set(ATTACKS)):
            raise InputError(f"unknown attack: {', '.join(unknown)}; choose from {', '.join(ATTACKS)}")


def measure_robustness(
    model: Any,
    tokenizer: Any,
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
        InputError: a setting does not fit the model, or the tokenizer has no end-of-sequence token.
    """
    generation: Any = {"batch_size": settings.batch_size, "max_new_tokens": settings.max_new_tokens}
    measures: dict[str, Any] = {
        "paraphrased_prompts": partial(paraphrased_prompts, **generation),
        "prefix_attack": partial(prefix_attack, prefix_tokens=settings.prefix_tokens, **generation),
        "sampling": partial(sampling, samples=settings.samples, seed=settings.seed, **generation),
        "quantisation": partial(
            quantisation,
            bits=settings.quantisation_bits,
            group_size=settings.quantisation_group,
            batch_size=settings.batch_size,
        ),
        "relearning": partial(
            relearning,
            steps=settings.relearning_steps,
            share=settings.relearning_share,
            learning_rate=settings.relearning_rate,
            step_size=settings.relearning_step_size,
            batch_size=settings.batch_size,
            seed=settings.seed,
        ),
    }
    return {
        attack: measures[attack](
            model, tokenizer, records, progress=progress and f"{progress}: {attack.replace('_', ' ')}"
        )
        for attack in settings.attacks
    }


def robustness_curve(attack: str, examples: pd.DataFrame) -> pd.DataFrame:
    """The mean over records at each point of an attack.

    Args:
        examples: what `measure_robustness` gives for the attack.

    Returns:
        A row for each point, in ascending order: the columns of ATTACKS[attack], the mean of each of
        probability and rouge_l_recall that the attack measures (NaN if one is), and n, the records in it.
    """
    points = ATTACKS[attack]
    values = [name for name in _VALUES if name in examples]
    groups = examples.groupby(points, sort=True)
    return groups[values].agg(_mean).assign(n=groups.size()).reset_index()


def robustness_curves(found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """`robustness_curve` of each attack; of relearning, over the records that the attacker did not train on."""
    curves = {attack: robustness_curve(attack, frame) for attack, frame in found.items()}
    if "relearning" in curves:  # the records that were trained on come back in any model
        curves["relearning"] = curves["relearning"][~curves["relearning"]["relearned"].astype(bool)]
    return curves


def robustness_metrics(curves: Mapping[str, pd.DataFrame]) -> dict[str, float | None]:
    """The hardest point of each attack; None where the model's likelihoods are no numbers.

    Args:
        curves: from `robustness_curves`; an attack without rows has no metric.
    """
    metrics: dict[str, Any] = {}
    for attack, curve in curves.items():
        if not len(curve):
            continue
        if attack == "quantisation":
            for row in curve[curve["bits"] <= 8].itertuples():
                metrics[f"quantised_{row.bits}_bit_probability"] = row.probability
        elif attack == "paraphrased_prompts":
            rows = curve[curve["wording"] == "paraphrased"]
            metrics |= {f"paraphrased_{name}": rows[name].iloc[0] for name in _VALUES if len(rows)}
        else:
            name = {"relearning": "relearned_probability"}.get(attack, f"{attack}_rouge_l_recall")
            metrics[name] = curve[CURVES[attack][1]].iloc[-1]
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}


def _mean(values: pd.Series) -> float:
    return float(values.mean(skipna=False))  # a model whose likelihoods are not numbers has no mean
