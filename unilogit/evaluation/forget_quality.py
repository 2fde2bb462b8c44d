"""Can the unlearned model be told apart from one that never saw the forget set?

The two-sample Kolmogorov-Smirnov test between their truth ratios on the forget set.
Source: TOFU, Maini et al. 2024, arxiv.org/abs/2401.06121.
"""

import math

import numpy as np

_SMALLEST = 1e-290  # below, float64 loses digits and then the number


def forget_quality(unlearned: np.ndarray, retain_model: np.ndarray) -> dict[str, float]:
    """The test between two samples of truth ratios.

    Args:
        unlearned, retain_model: of the model and of the retain model; finite, at least one each.

    Returns:
        p_value (1: cannot be told apart; 0 where it is too small for a float), log10_p_value (finite even
        then) and ks_statistic (the largest distance between the two distributions, in [0, 1]).
    """
    from scipy.stats import ks_2samp

    test = ks_2samp(unlearned, retain_model)
    p_value, statistic = float(test.pvalue), float(test.statistic)
    return {
        "p_value": p_value,
        "log10_p_value": math.log10(p_value)
        if p_value > _SMALLEST
        else log10_of_tiny_p(statistic, len(unlearned), len(retain_model)),
        "ks_statistic": statistic,
    }


def least_p_value(n: int, m: int) -> float:
    """The p-value of the test between samples of these sizes that do not overlap: none is smaller."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(np.zeros(n), np.ones(m)).pvalue)


def log10_of_tiny_p(statistic: float, n: int, m: int) -> float:
    """log10 of the test's p-value where that is tiny, from the first term of its series; the next is nothing.

    For samples of equal size the exact distribution, 2 C(2n, n - k) / C(2n, n) with k = statistic x n
    (Gnedenko and Korolyuk 1951); otherwise Kolmogorov's limit, 2 exp(-2 statistic^2 nm / (n + m)).
    """
    if n == m:
        k = round(statistic * n)
        natural = 2 * math.lgamma(n + 1) - math.lgamma(n - k + 1) - math.lgamma(n + k + 1)
    else:
        natural = -2 * statistic**2 * n * m / (n + m)
    return (math.log(2) + natural) / math.log(10)
