"""Gates: the four comparisons, missing and NaN metrics, margins."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from unilogit.gates import Gate, GateReport, judge

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


def test_a_name_that_was_not_measured_is_answered_with_the_three_closest():
    after = {
        "forget": {"probability": 0.1, "rouge_l_recall": 0.2, "truth_ratio": 0.3},
        "retain": {"probability": 0.9},
        "model_utility": 0.5,
        "membership_inference": {"loss_auc": 0.5},
    }
    reason = judge([gate(metric="forget.probabilty")], {"after": after}).gates[0].reason
    told, names = reason.split("; ")
    assert told == "forget.probabilty is not available: it was not measured"
    assert names.removeprefix("the closest names that were: ").split(", ")[0] == "forget.probability"
    assert len(names.split(", ")) == 3
    assert "\n" not in reason
    assert "model_utility" not in reason
    assert judge([gate()], {}).gates[0].reason.endswith("that were: none")


def test_scopes_are_judged_apart():
    metrics = {"after": {"forget": {"probability": 0.9}, "retain": {"probability": 0.9}}}
    report = judge([gate(name="a"), gate(">=", 0.8, "retain.probability", "utility", "b")], metrics)
    assert not report.passed
    assert not report.scope_passed("forget", "forget_all")
    assert report.scope_passed("utility")
    assert report.scope_passed("robustness") is None, "no gate, no verdict"
    assert report.scope_passed("utility", "robustness")


@pytest.mark.parametrize("threshold", [0.1, 0.3])
def test_a_number_that_leaves_records_out_says_so_whether_it_passes_or_fails(threshold):
    told = "3 of 20 records are left out: their answers have no word"
    metrics = {"after": {"forget": {"rouge_l_recall": 0.2}}, "incomplete": {"forget.rouge_l_recall": told}}
    verdict = judge([gate(metric="forget.rouge_l_recall", threshold=threshold)], metrics).gates[0]
    assert verdict.passed == (threshold == 0.3)
    assert verdict.reason.endswith(f"{threshold:g}; {told}")


@pytest.mark.parametrize("threshold", [0.1, 0.3])
@pytest.mark.parametrize(("value", "told"), [(0.9, ", 0.9"), (None, "")])
def test_whom_a_metric_is_worst_of_is_named_whether_it_passes_or_fails(threshold, value, told):
    metrics = {"after": {"forget": {"probability": 0.2}, "model_utility": 0.2}}
    metrics |= {"worst": {"forget.probability": {"person": "subject-0123456789abcdef", "value": value}}}
    verdict = judge([gate(metric="forget.probability", threshold=threshold)], metrics).gates[0]
    assert verdict.passed == (threshold == 0.3)
    assert verdict.worst == "subject-0123456789abcdef"
    assert verdict.reason.endswith(f"{threshold:g}; worst of subject-0123456789abcdef{told}")
    assert judge([gate(metric="model_utility", threshold=threshold)], metrics).gates[0].worst is None


@given(value=finite, reference=finite, allowance=st.floats(0, 1e6), op=st.sampled_from(["<", "<=", ">", ">="]))
def test_with_an_allowance_a_model_may_be_that_much_worse_than_the_retain_model(value, reference, allowance, op):
    metrics = {role: {"forget": {"probability": one}} for role, one in [("after", value), ("retain_model", reference)]}
    demanded = Gate(**gate(op).model_dump() | {"allowance": allowance})
    verdict = judge([demanded], metrics).gates[0]
    limit = round(reference + (allowance if op.startswith("<") else -allowance), 4)
    assert verdict.threshold == limit
    assert verdict.passed == eval(f"{value!r} {op} {limit!r}")
    assert f"the retain model's {reference:.4g}" in verdict.reason
    assert verdict.gate() == demanded
    if op in ("<=", ">=") and allowance >= 1e-4:
        metrics["after"] = metrics["retain_model"]
        assert judge([demanded], metrics).passed, "a retain model is no worse than itself"


@pytest.mark.parametrize(
    "retain_model", [None, {}, {"forget": {"probability": None}}, {"forget": {"probability": math.nan}}]
)
def test_without_a_number_of_the_retain_model_the_threshold_counts_and_that_is_said(retain_model):
    demanded = Gate(**gate(threshold=0.5).model_dump() | {"allowance": 0.2})
    metrics = {"after": {"forget": {"probability": 0.4}}, "retain_model": retain_model}
    verdict = judge([demanded], metrics).gates[0]
    assert (verdict.passed, verdict.threshold, verdict.gate()) == (True, 0.5, demanded)
    assert verdict.reason.endswith("<= 0.5 (of the retain model there is no such number)")


@given(
    value=finite,
    reference=finite,
    allowance=st.none() | st.floats(0, 1e6),
    error=st.floats(0, 1e6),
    op=st.sampled_from(["<", "<=", ">", ">="]),
)
def test_no_threshold_is_nearer_to_the_retain_model_than_chance(value, reference, allowance, error, op):
    demanded = Gate(**gate(op, metric="privleak").model_dump() | {"allowance": allowance})
    roles = {"after": {"privleak": value}, "retain_model": {"privleak": reference}}
    without = judge([demanded], roles).gates[0]
    verdict = judge([demanded], {**roles, "standard_errors": {"privleak": error}}).gates[0]
    farther = max if op.startswith("<") else min
    chance = round(reference + (2 if op.startswith("<") else -2) * error, 4)
    assert verdict.threshold == (farther(without.threshold, chance) if error else without.threshold)
    assert ("2 standard errors of" in verdict.reason) == (verdict.threshold != without.threshold)
    assert verdict.gate() == demanded
    assert verdict.passed == eval(f"{value!r} {op} {verdict.threshold!r}")


def test_chance_widens_no_threshold_of_another_metric_or_without_a_retain_model():
    metrics = {"after": {"privleak": 40.0, "utility": 40.0}, "standard_errors": {"privleak": 21.0}}
    both = {**metrics, "retain_model": {"privleak": 0.0, "utility": 0.0}}
    assert judge([gate(threshold=30, metric="privleak")], both).passed
    assert not judge([gate(threshold=30, metric="utility")], both).passed
    assert not judge([gate(threshold=30, metric="privleak")], metrics).passed


def test_verdicts_written_before_there_were_allowances_are_read():
    old = judge([gate()], {"after": {"forget": {"probability": 0.4}}}).model_dump()
    for verdict in old["gates"]:
        del verdict["allowance"], verdict["absolute"]
    assert GateReport.model_validate(old).gates[0].gate() == gate()


@pytest.mark.parametrize("allowance", [-0.1, math.inf, math.nan])
def test_an_allowance_is_a_finite_number_from_0_on(allowance):
    with pytest.raises(ValidationError, match="allowance"):
        Gate(**gate().model_dump() | {"allowance": allowance})
