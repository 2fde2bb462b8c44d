"""What the model can still do: one number over all that it should have kept.

The harmonic mean of probability, ROUGE-L recall and truth ratio over the utility sets, so that nothing can
make up for a loss elsewhere. Source: TOFU, Maini et al. 2024, arxiv.org/abs/2401.06121.
"""

import math
from collections.abc import Iterable, Mapping


def harmonic_mean(values: Iterable[float]) -> float:
    """0 as soon as one value is 0; NaN as soon as one is NaN. At least one value, none negative."""
    values = list(values)
    if any(math.isnan(value) for value in values):
        return math.nan
    if min(values) == 0:
        return 0.0
    return len(values) / sum(1 / value for value in values)


def model_utility(sets: Iterable[Mapping[str, float | None]]) -> float | None:
    """The harmonic mean over utility sets.

    Args:
        sets: the metrics of each: probability, rouge_l_recall and truth_ratio; normalised_probability takes
            the place of probability where it is there. A None (no data for it) is left out.

    Returns:
        In [0, 1]; NaN where a metric is NaN; None where there is nothing to average.
    """
    parts = [
        value
        for metrics in sets
        for value in (
            metrics.get("normalised_probability", metrics.get("probability")),
            metrics.get("rouge_l_recall"),
            metrics.get("truth_ratio"),
        )
        if value is not None
    ]
    return harmonic_mean(parts) if parts else None
