"""Harmonic mean over utility sets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hmean

from unilogit.evaluation.model_utility import harmonic_mean, model_utility


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=12))
def test_harmonic_mean_is_scipys(values):
    assert harmonic_mean(values) == pytest.approx(hmean(values))


def test_any_zero_makes_it_zero_and_nan_stays():
    assert harmonic_mean([0.9, 0.0, 0.9]) == 0
    assert math.isnan(harmonic_mean([0.9, 0.0, math.nan]))


def test_groups_count_with_their_normalised_probability():
    retain = {"probability": 0.9, "rouge_l_recall": 0.8, "truth_ratio": 0.7, "n": 3}
    facts = {
        "probability": 0.1,
        "normalised_probability": 0.6,
        "rouge_l_recall": 0.5,
        "truth_ratio": 0.4,
        "n": 3,
    }
    assert model_utility([retain, facts]) == pytest.approx(hmean([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    assert model_utility([retain]) == pytest.approx(hmean([0.9, 0.8, 0.7]))


def test_what_has_no_data_is_left_out():
    assert model_utility([{"probability": 0.5, "rouge_l_recall": 1.0, "truth_ratio": None}]) == pytest.approx(2 / 3)
    assert model_utility([{"probability": None}]) is None
    assert model_utility([]) is None
