"""Gates: the four comparisons, missing and NaN metrics, margins."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.gates import judge
from unilogit.params import Gate

finite = st.floats(-1e6, 1e6)


def gate(op="<=", threshold=0.5, metric="forget.probability", scope="forget", name="g"):
    return Gate(name=name, scope=scope, metric=metric, op=op, threshold=threshold)


@given(value=finite, threshold=finite, op=st.sampled_from(["<", "<=", ">", ">="]))
def test_the_verdict_is_the_comparison_and_the_margin_its_distance(value, threshold, op):
    report = judge([gate(op, threshold)], {"after": {"forget": {"probability": value}}})
    verdict = report.gates[0]
    assert verdict.passed == report.passed == eval(f"{value!r} {op} {threshold!r}")
    assert abs(verdict.margin) == abs(value - threshold)
    if verdict.margin:
        assert (verdict.margin > 0) == verdict.passed


@pytest.mark.parametrize(
    "after",
    [
        {},
        None,
        {"forget": None},
        {"forget": {"probability": None}},
        {"forget": {"probability": math.nan}},
        {"forget": {"probability": math.inf}},
        {"forget": {"probability": True}},
        {"forget": {"probability": {"deeper": 0.1}}},
        {"forget": 0.1},
    ],
)
def test_a_missing_or_nan_metric_fails(after):
    report = judge([gate()], {"after": after})
    assert not report.passed
    assert report.gates[0].value is None
    assert "forget.probability is not available" in report.gates[0].reason


def test_the_reason_why_a_metric_is_missing_is_given():
    report = judge(
        [gate(metric="forget_quality.p_value")],
        {"after": {}, "unavailable": {"forget_quality.p_value": "no retain model"}},
    )
    assert report.gates[0].reason == "forget_quality.p_value is not available: no retain model"


def test_scopes_are_judged_apart():
    metrics = {"after": {"forget": {"probability": 0.9}, "retain": {"probability": 0.9}}}
    report = judge([gate(name="a"), gate(">=", 0.8, "retain.probability", "utility", "b")], metrics)
    assert not report.passed
    assert not report.scope_passed("forget", "forget_all")
    assert report.scope_passed("utility")
