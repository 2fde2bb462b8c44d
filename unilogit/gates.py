"""Gates: what a model must show before it may be promoted.

Compares measured metrics with thresholds; reads them and changes nothing. Knows nothing of how they were measured.
"""

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from unilogit.files import Json

Scope = Literal["forget", "forget_all", "utility", "robustness"]
Operator = Literal["<", "<=", ">", ">="]

_HOLDS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Gate(BaseModel):
    """One demand on the unlearned model: `metric` `op` `threshold`.

    Attributes:
        name: what reports call it.
        scope: what it protects: `forget` (this batch is forgotten), `forget_all` (every batch is), `utility` (what
            is to be kept), `robustness` (what was forgotten stays so under attack).
        metric: dotted path in the `after` part of metrics.json, e.g. "forget.probability".
        op: how the metric must compare with the threshold.
        threshold: a finite number, in the metric's unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1)]
    scope: Scope
    metric: Annotated[str, Field(min_length=1)]
    op: Operator
    threshold: float


class GateVerdict(BaseModel):
    """One gate's outcome.

    Attributes:
        name, scope, metric, op, threshold: the gate's own.
        value: the measured metric; None when there is none, which fails the gate.
        margin: how far on the passing side of the threshold the value lies (negative: failed), in the metric's unit.
        passed: whether value `op` threshold holds.
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
    """All verdicts of a run; what gates.json holds.

    Attributes:
        schema_version: of gates.json.
        passed: whether every gate passed.
        gates: a verdict for each gate, in their order.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    passed: bool
    gates: list[GateVerdict]

    def __str__(self) -> str:
        failed = [f"failed: {gate.name}: {gate.reason}" for gate in self.gates if not gate.passed]
        return "\n".join([*failed, f"{len(self.gates) - len(failed)} of {len(self.gates)} gates passed"])

    def scope_passed(self, *scopes: str) -> bool:
        """Whether every gate of these scopes passed."""
        return all(gate.passed for gate in self.gates if gate.scope in scopes)


def holds(value: float, op: str, threshold: float) -> bool:
    """Whether `value` `op` `threshold`."""
    return bool(_HOLDS[op](value, threshold))


def judge(gates: Sequence[Gate], metrics: Mapping[str, Json]) -> GateReport:
    """Judge a model's metrics.

    Args:
        gates: what is demanded.
        metrics: what metrics.json holds: the paths of gates are looked up in its `after` part, in `unavailable` the
            reasons of those without a number, and in `incomplete` what a number leaves out.
    """
    verdicts = [_judge_one(gate, metrics) for gate in gates]
    return GateReport(passed=all(verdict.passed for verdict in verdicts), gates=verdicts)


def _judge_one(gate: Gate, metrics: Mapping[str, Json]) -> GateVerdict:
    value = metrics.get("after")
    for name in gate.metric.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return GateVerdict(
            **gate.model_dump(),
            value=None,
            margin=None,
            passed=False,
            reason=f"{gate.metric} is not available: {_why_unavailable(gate.metric, metrics)}",
        )
    margin = value - gate.threshold if gate.op.startswith(">") else gate.threshold - value
    passed = holds(value, gate.op, gate.threshold)
    incomplete = metrics.get("incomplete")
    left_out = f"; {incomplete[gate.metric]}" if isinstance(incomplete, Mapping) and gate.metric in incomplete else ""
    return GateVerdict(
        **gate.model_dump(),
        value=value,
        margin=margin,
        passed=passed,
        reason=f"{gate.metric} = {value:.4g}, {'which is' if passed else 'but must be'} {gate.op} {gate.threshold:g}"
        + left_out,
    )


def _why_unavailable(path: str, metrics: Mapping[str, Json]) -> str:
    reasons = metrics.get("unavailable")
    if isinstance(reasons, Mapping) and path in reasons:
        return str(reasons[path])
    closest = get_close_matches(path, _paths(metrics.get("after")), n=3, cutoff=0)
    return f"it was not measured; the closest names that were: {', '.join(closest) or 'none'}"


def _paths(node: Json, prefix: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _paths(value, f"{prefix}{name}.")
    elif prefix:
        yield prefix.removesuffix(".")
