"""Kolmogorov-Smirnov test against a count by hand, all permutations, and integers where floats give up."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from unilogit.evaluation.forget_quality import forget_quality, least_p_value, log10_of_tiny_p

samples = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("size", "least"), [(1, 1.0), (2, 1 / 3), (3, 1 / 10), (4, 1 / 35), (5, 1 / 126), (10, 1 / 92378)]
)
def test_no_p_value_is_below_that_of_samples_that_do_not_overlap(size, least):
    assert least_p_value(size, size) == pytest.approx(least)  # 2 of the orders of all values, C(2n, n)
    assert forget_quality(np.arange(size), np.arange(size) + size)["p_value"] == pytest.approx(least)


def distance(a, b):
    return max(abs(sum(x <= t for x in a) / len(a) - sum(x <= t for x in b) / len(b)) for t in [*a, *b])


def exact_log10_p(n, k):
    """From Gnedenko and Korolyuk's whole series, in integers."""
    ways = 2 * sum((-1) ** (j - 1) * math.comb(2 * n, n - j * k) for j in range(1, n // k + 1))
    return math.log10(ways) - math.log10(math.comb(2 * n, n))


@given(a=samples, b=samples)
def test_statistic_is_the_largest_distance(a, b):
    assert forget_quality(np.array(a), np.array(b))["ks_statistic"] == pytest.approx(distance(a, b))


def test_p_value_is_the_share_of_permutations_at_least_as_far_apart():
    a, b = [0.1, 0.2, 0.3, 0.75], [0.6, 0.7, 0.8, 0.9]
    everything, seen = a + b, distance(a, b)
    far = [
        distance([everything[i] for i in chosen], [x for i, x in enumerate(everything) if i not in chosen])
        >= seen - 1e-12
        for chosen in combinations(range(8), 4)
    ]
    quality = forget_quality(np.array(a), np.array(b))
    assert quality["p_value"] == pytest.approx(sum(far) / len(far))
    assert quality["log10_p_value"] == pytest.approx(math.log10(sum(far) / len(far)))


def test_a_model_compared_with_itself():
    ratios = np.random.default_rng(0).lognormal(size=50)
    assert forget_quality(ratios, ratios) == {"p_value": 1.0, "log10_p_value": 0.0, "ks_statistic": 0.0}


def test_published_p_values_of_disjoint_samples():
    # OpenUnlearning reports 1.1e-239 for forget10 (400 examples) and 1.9e-119 for forget05 (200).
    for n, published in ((400, 1.1e-239), (200, 1.9e-119)):
        quality = forget_quality(np.arange(n) + n, np.arange(n))
        assert quality["p_value"] == pytest.approx(published, rel=0.05)
        assert quality["log10_p_value"] == pytest.approx(exact_log10_p(n, n), abs=1e-6)


@pytest.mark.parametrize(("n", "k"), [(1000, 1000), (1000, 900), (3000, 2000), (9000, 4000)])
def test_log_p_is_exact_where_p_underflows(n, k):
    assert log10_of_tiny_p(k / n, n, n) == pytest.approx(exact_log10_p(n, k), rel=1e-9)
    quality = forget_quality(np.arange(n, dtype=float) + k, np.arange(n, dtype=float))
    assert quality["ks_statistic"] == pytest.approx(k / n)
    assert quality["p_value"] < 1e-290
    assert quality["log10_p_value"] == pytest.approx(exact_log10_p(n, k), rel=1e-9)


def test_log_p_continues_where_scipy_still_has_digits():
    n, k = 2000, 1000
    p = ks_2samp(np.arange(n) + k, np.arange(n)).pvalue
    assert 1e-290 < p < 1e-200
    assert log10_of_tiny_p(k / n, n, n) == pytest.approx(math.log10(p), rel=1e-9)


def test_log_p_is_finite_for_unequal_and_huge_samples():
    quality = forget_quality(np.arange(20_000) + 1e6, np.arange(15_000))
    assert quality["p_value"] == 0
    assert -8000 < quality["log10_p_value"] < -7000
    assert math.isfinite(log10_of_tiny_p(1.0, 10_000_000, 10_000_000))
