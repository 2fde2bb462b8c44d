"""Every metric that is put is a finite number, or None with a reason; what it starts from is left alone."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from unilogit.evaluation.findings import NOT_FINITE, Findings

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
