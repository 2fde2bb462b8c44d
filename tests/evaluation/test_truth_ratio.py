"""Truth ratio against its definition, written with probabilities and a geometric mean."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.evaluation.truth_ratio import forget_truth_ratio, truth_ratio, utility_truth_ratio

nlls = st.floats(0, 12)


@given(correct=nlls, wrong=st.lists(nlls, min_size=1, max_size=6))
def test_ratio_of_geometric_mean_of_wrong_to_correct(correct, wrong):
    geometric = math.prod(math.exp(-nll) for nll in wrong) ** (1 / len(wrong))
    assert truth_ratio(correct, wrong) == pytest.approx(geometric / (math.exp(-correct) + 1e-10), rel=1e-9)


def test_no_wrong_answers_give_no_ratio():
    assert math.isnan(truth_ratio(1.0, []))


def test_an_impossible_right_answer_gives_a_large_finite_ratio():
    assert truth_ratio(5000.0, [0.0]) == pytest.approx(1e10)


@given(st.lists(st.floats(0, 1e10), min_size=1, max_size=9))
def test_aggregates(ratios):
    closer = sum(min(r, 1 / (r + 1e-10)) for r in ratios) / len(ratios)
    better = sum(max(0.0, 1 - r) for r in ratios) / len(ratios)
    assert forget_truth_ratio(np.array(ratios)) == pytest.approx(closer)
    assert utility_truth_ratio(np.array(ratios)) == pytest.approx(better)


def test_best_values():
    assert forget_truth_ratio(np.ones(3)) == pytest.approx(1)
    assert utility_truth_ratio(np.zeros(3)) == 1
    assert utility_truth_ratio(np.array([7.0])) == 0
