"""Every gate that fails comes with a knob of params.yaml that would help."""

import re

import pytest

from tasks.params import load_params
from tasks.report.advice import advice
from unilogit.gates import judge

PARAMS = load_params("params.yaml")
WORST = {"<=": 1e9, ">=": -1e9}


def failed(gate, value):
    after: dict = {}
    *parts, name = gate.metric.split(".")
    node = after
    for part in parts:
        node = node.setdefault(part, {})
    node[name] = value
    return judge([gate], {"after": after}).gates[0]


@pytest.mark.parametrize("gate", PARAMS.gates, ids=lambda gate: gate.name)
def test_advice_names_knobs_that_there_are(gate):
    knobs = re.findall(r"(?:unlearn)\.[a-z_]+", advice(failed(gate, WORST[gate.op])))
    assert knobs
    for knob in knobs:
        PARAMS.value(knob)  # raises KeyError where there is none
    assert "remove the gate" in advice(failed(gate, None))


def test_too_little_too_much_and_damage_are_told_apart():
    told = {gate.name: advice(failed(gate, WORST[gate.op])) for gate in PARAMS.gates}
    assert "still known" in told["forget-probability"]
    assert "stands out" in told["not-over-forgotten"]
    assert "was damaged" in told["retain-probability"]
    assert "under attack" in told["forgotten-in-4-bits"]
    assert "retain model" in told["forget-quality"]
    assert "still known" in told["privleak-least"]
    assert "stands out" in told["privleak-most"]
    for name in ("fluent-answers", "no-repetition", "answers-in-full"):
        assert "never knew" in told[name]
