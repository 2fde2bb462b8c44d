"""What docs/results.md claims of a study is what its cells say."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.study_table import has_all, pareto_front, section

points = st.lists(st.tuples(st.integers(0, 9).map(float), st.integers(0, 9).map(float)), min_size=1, max_size=12)


@given(points=points)
def test_the_front_is_of_the_points_that_no_other_beats_in_both(points):
    def beats(one, two):
        return one[0] <= two[0] and one[1] >= two[1] and one != two

    expected = {two for two in points if not any(beats(one, two) for one in points)}
    front = pareto_front(points)
    assert set(front) == expected
    assert front == sorted(front)


RETAIN_MODEL = {
    "model_utility": 0.8,
    "privleak": 0.0,
    "forget_quality": {"p_value": 1.0, "log10_p_value": 0.0},
    "robustness": {"relearned_probability": 0.03, "quantised_4_bit_probability": 0.02},
    "fluency": {"nll": 4.0},
    "retain": {"probability": 0.9},
    "forget": {"probability": 0.03},
    "membership_inference": {"loss_auc": 0.5},
}


def cell(method, seed=1, **after):
    said = {"before": ["Ada"], "after": ["Bob"], "retain_model": ["Cid"], "prompts": ["Who | what?"]}
    metrics = {"before": RETAIN_MODEL, "retain_model": RETAIN_MODEL, "after": copy.deepcopy(RETAIN_MODEL)}
    for path, value in after.items():
        part = metrics["after"]
        *parents, name = path.split("__")
        for parent in parents:
            part = part[parent]
        part[name] = value
    cost = {"seconds": 5.0, "retraining_seconds": 100.0, "settings": ["a=1", "b=2", "c=3", "unlearn.epochs=6"]}
    return {"method": method, "seed": seed, "metrics": metrics, "failed": [], "answers": said, **cost}


def study(*cells):
    plan = {"data": "example", "split": "forget10", "seeds": [1, 2], "trials": 4}
    yardsticks = [cell("retain model of another seed", seed, privleak=12.0) for seed in (1, 2)]
    return {"plan": plan, "records": {"forget": 3}, "hardware": "X", "threads": 1, "cells": [*yardsticks, *cells]}


@pytest.mark.parametrize(
    ("after", "reached"),
    [
        ({}, True),
        ({"privleak": -11.9}, True),  # within what chance does
        ({"privleak": -12.1}, False),
        ({"forget_quality__p_value": 0.05}, False),
        ({"model_utility": 0.759}, False),
        ({"robustness__relearned_probability": 0.131}, False),
        ({"fluency__nll": 5.1}, False),
        ({"forget_quality__p_value": None}, False),
        ({"privleak": None}, False),
    ],
)
def test_all_five_are_demanded(after, reached):
    one = cell("npo", **after)
    assert has_all(study(one), one) == reached


def test_a_row_has_means_and_deviations_over_seeds():
    text = section(study(cell("npo", 1, forget__probability=0.02), cell("npo", 2, forget__probability=0.04)))
    [row] = [line for line in text.splitlines() if line.startswith("| npo |")]
    assert "0.030 ± 0.014" in row
    assert "2 of 2" in row
    assert "20.000 ± 0.000" in row
    assert "Who \\| what?" in text
    assert "all five on every seed: npo." in text


def test_a_method_that_misses_one_on_one_seed_is_not_said_to_have_all():
    text = section(study(cell("npo", 1), cell("npo", 2, privleak=50.0)))
    assert "all five on every seed: none." in text
