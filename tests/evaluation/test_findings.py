"""Every metric that is put is a finite number, or None with a reason; what it starts from is left alone."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from unilogit.evaluation.findings import NOT_FINITE, Findings, left_out

names = st.sampled_from(["a", "b"])
paths = st.tuples(names) | st.tuples(st.sampled_from(["set", "dotted.set"]), names)
values = st.none() | st.floats() | st.integers(0, 9)


@given(st.lists(st.tuples(paths, values)))
def test_the_last_value_put_stands_or_the_reason_why_there_is_none(puts):
    findings = Findings()
    for path, value in puts:
        findings.put(path, value, f"no {path[-1]}")
    last = dict(puts)
    for path, value in last.items():
        metrics = findings.metrics
        for name in path:
            metrics = metrics[name]
        if value is None or not math.isfinite(value):
            assert metrics is None
            assert findings.unavailable[".".join(path)] == (f"no {path[-1]}" if value is None else NOT_FINITE)
        else:
            assert metrics == value
            assert ".".join(path) not in findings.unavailable
    assert len(findings.unavailable) == sum(value is None or not math.isfinite(value) for value in last.values())
    json.dumps(findings.metrics, allow_nan=False)


def test_what_it_starts_from_is_copied():
    metrics, unavailable = {"set": {"a": 1.0, "b": None}, "c": None}, {"set.b": "no b", "c": "no c"}
    findings = Findings(metrics, unavailable)
    findings.put(("set", "b"), 2.0)
    findings.put(("set", "a"), None, "gone")
    assert findings.metrics == {"set": {"a": None, "b": 2.0}, "c": None}
    assert findings.unavailable == {"c": "no c", "set.a": "gone"}
    assert metrics == {"set": {"a": 1.0, "b": None}, "c": None}
    assert unavailable == {"set.b": "no b", "c": "no c"}


@given(st.lists(st.tuples(paths, values, st.sampled_from(["", "2 of 3 are left out", "1 of 3 is left out"]))))
def test_a_number_says_what_it_leaves_out_until_it_is_put_again(puts):
    findings = Findings()
    for path, value, sentence in puts:
        findings.put(path, value, left_out=sentence)
    last = {path: (value, sentence) for path, value, sentence in puts}
    assert findings.incomplete == {
        ".".join(path): sentence
        for path, (value, sentence) in last.items()
        if sentence and value is not None and math.isfinite(value)
    }


def test_what_is_left_out_is_counted():
    assert left_out(0, 20, "they are empty") == ""
    assert left_out(3, 20, "they are empty") == "3 of 20 records are left out: they are empty"


def test_a_family_is_added_with_its_reasons():
    attacks, findings = Findings(), Findings({"n": 1})
    attacks.put(("a",), 1.0, left_out="1 of 2")
    attacks.put(("b",), None, "no b")
    findings.add("robustness", attacks)
    assert findings.metrics == {"n": 1, "robustness": {"a": 1.0, "b": None}}
    assert findings.unavailable == {"robustness.b": "no b"}
    assert findings.incomplete == {"robustness.a": "1 of 2"}
