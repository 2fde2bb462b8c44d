"""Gates: what a model must show before it may be promoted.

Compares measured metrics with the thresholds of params.yaml. Knows nothing of how they were measured.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from unilogit.params import Gate

_HOLDS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class GateVerdict(BaseModel):
    """One gate's outcome.

    Attributes:
        value: the measured metric; None when there is none, which fails the gate.
        margin: how far on the passing side of the threshold the value lies (negative: failed), in the metric's unit.
        reason: why it passed or failed, in a sentence.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    scope: str
    metric: str
    op: str
    threshold: float
    value: float | None
    margin: float | None
    passed: bool
    reason: str


class GateReport(BaseModel):
    """All verdicts of a run; what gates.json holds."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    passed: bool
    gates: list[GateVerdict]

    def scope_passed(self, *scopes: str) -> bool:
        """Whether every gate of these scopes passed."""
        return all(gate.passed for gate in self.gates if gate.scope in scopes)


def judge(gates: Sequence[Gate], metrics: dict[str, Any]) -> GateReport:
    """Judge a model's metrics.

    Args:
        gates: the `gates` of params.yaml.
        metrics: metrics.json; paths are looked up in its `after` part.
    """
    verdicts = [_judge_one(gate, metrics) for gate in gates]
    return GateReport(passed=all(verdict.passed for verdict in verdicts), gates=verdicts)


def _judge_one(gate: Gate, metrics: dict[str, Any]) -> GateVerdict:
    value: Any = metrics.get("after")
    for part in gate.metric.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        why = metrics.get("unavailable", {}).get(gate.metric) or _no_such_metric(gate.metric, metrics)
        return GateVerdict(
            **gate.model_dump(),
            value=None,
            margin=None,
            passed=False,
            reason=f"{gate.metric} is not available: {why}",
        )
    margin = value - gate.threshold if gate.op.startswith(">") else gate.threshold - value
    passed = bool(_HOLDS[gate.op](value, gate.threshold))
    return GateVerdict(
        **gate.model_dump(),
        value=value,
        margin=margin,
        passed=passed,
        reason=f"{gate.metric} = {value:.4g}, {'which is' if passed else 'but must be'} {gate.op} {gate.threshold:g}",
    )


def _no_such_metric(path: str, metrics: dict[str, Any]) -> str:
    known = sorted(_paths(metrics.get("after") or {}))
    return f"it was not measured; measured are {', '.join(known) or 'none'}"


def _paths(node: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        path
        for key, value in node.items()
        for path in (_paths(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"])
    ]
