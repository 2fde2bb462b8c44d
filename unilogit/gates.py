"""Gates: what a model must show before it may be promoted.

Compares measured metrics with thresholds, and with the retain model's; reads them and changes nothing. Knows nothing of
how they were measured.
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

_ERRORS = 2  # standard errors from the retain model's value that chance is allowed
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
        allowance: with it, where the retain model has the metric, the threshold is its value and so much more (for
            ">=": less), to four decimals: a model that never knew is no worse than itself. None: always `threshold`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1)]
    scope: Scope
    metric: Annotated[str, Field(min_length=1)]
    op: Operator
    threshold: float
    allowance: Annotated[float, Field(ge=0)] | None = Field(None, exclude_if=lambda allowance: allowance is None)

    def __str__(self) -> str:
        demand = f"{self.metric} {self.op} {self.threshold:g}"
        if self.allowance is None:
            return demand
        sign = "-" if self.op.startswith(">") else "+"
        return (
            f"{self.metric} {self.op} the retain model's {sign} {self.allowance:g}, or {self.threshold:g} without one"
        )


class GateVerdict(BaseModel):
    """One gate's outcome.

    Attributes:
        name, scope, metric, op, allowance: the gate's own.
        threshold: what the value was compared with.
        absolute: the gate's own threshold, where the retain model's value and the allowance took its place.
        value: the measured metric; None when there is none, which fails the gate.
        margin: how far on the passing side of the threshold the value lies (negative: failed), in the metric's unit.
        passed: whether value `op` threshold holds.
        reason: why it passed or failed, in a sentence.
        worst: pseudonym of the person whom the metric is worst of; None where it is not of people.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    scope: str
    metric: str
    op: str
    threshold: float
    allowance: float | None = None
    absolute: float | None = None
    value: float | None
    margin: float | None
    passed: bool
    reason: str
    worst: str | None = None

    def gate(self) -> Gate:
        """The gate that was judged by."""
        fields = {name: getattr(self, name) for name in Gate.model_fields}
        return Gate.model_validate(fields | ({} if self.absolute is None else {"threshold": self.absolute}))


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

    def scope_passed(self, *scopes: str) -> bool | None:
        """Whether every gate of these scopes passed; None where no gate is of them."""
        verdicts = [gate.passed for gate in self.gates if gate.scope in scopes]
        return all(verdicts) if verdicts else None


def holds(value: float, op: str, threshold: float) -> bool:
    """Whether `value` `op` `threshold`."""
    return bool(_HOLDS[op](value, threshold))


def judge(gates: Sequence[Gate], metrics: Mapping[str, Json]) -> GateReport:
    """Judge a model's metrics.

    Args:
        gates: what is demanded.
        metrics: what metrics.json holds: the paths of gates are looked up in its `after` part, where they have an
            allowance in `retain_model` too, in `unavailable` the reasons of those without a number, in `incomplete`
            what a number leaves out, and in `worst` whom it is worst of. What has one of its `standard_errors` is
            asked no more than chance leaves a model that never knew: no threshold is nearer than two of them to the
            retain model's value.
    """
    verdicts = [_judge_one(gate, metrics) for gate in gates]
    return GateReport(passed=all(verdict.passed for verdict in verdicts), gates=verdicts)


def _judge_one(gate: Gate, metrics: Mapping[str, Json]) -> GateVerdict:
    value = _number(metrics.get("after"), gate.metric)
    reference, errors = _number(metrics.get("retain_model"), gate.metric), metrics.get("standard_errors")
    error = errors.get(gate.metric) if isinstance(errors, Mapping) else None
    limit, origin = _limit(gate, reference, error if isinstance(error, float) else 0.0)
    demanded = gate.model_dump() | {"threshold": limit, "absolute": None if limit == gate.threshold else gate.threshold}
    if value is None:
        return GateVerdict(
            **demanded,
            value=None,
            margin=None,
            passed=False,
            reason=f"{gate.metric} is not available: {_why_unavailable(gate.metric, metrics)}",
        )
    margin = value - limit if gate.op.startswith(">") else limit - value
    passed = holds(value, gate.op, limit)
    incomplete = metrics.get("incomplete")
    left_out = f"; {incomplete[gate.metric]}" if isinstance(incomplete, Mapping) and gate.metric in incomplete else ""
    worst, told = _worst(gate.metric, metrics)
    return GateVerdict(
        **demanded,
        value=value,
        margin=margin,
        passed=passed,
        reason=f"{gate.metric} = {value:.4g}, {'which is' if passed else 'but must be'} {gate.op} {limit:g}{origin}"
        + told
        + left_out,
        worst=worst,
    )


def _limit(gate: Gate, reference: float | None, error: float) -> tuple[float, str]:
    """What a gate's value is compared with, and where that is from, if it is not the gate's own threshold.

    Args:
        reference: the retain model's value; None where there is none.
        error: the value's standard error; 0 where chance has no part in it.
    """
    if reference is None:
        return gate.threshold, "" if gate.allowance is None else " (of the retain model there is no such number)"
    is_least = gate.op.startswith(">")
    side, sign = (-1, "-") if is_least else (1, "+")
    limit, origin = gate.threshold, ""
    if gate.allowance is not None:
        limit = round(reference + side * gate.allowance, 4)
        origin = f" (the retain model's {reference:.4g} {sign} {gate.allowance:g})"
    chance = round(reference + side * _ERRORS * error, 4)
    if error and side * (chance - limit) > 0:
        return chance, f" (the retain model's {reference:.4g} {sign} {_ERRORS} standard errors of {error:.2g})"
    return limit, origin


def _worst(metric: str, metrics: Mapping[str, Json]) -> tuple[str | None, str]:
    """The person whom a metric is worst of, and the end of a sentence that says so; None and "" without one."""
    people = metrics.get("worst")
    likeliest = people.get(metric) if isinstance(people, Mapping) else None
    if not isinstance(likeliest, Mapping):
        return None, ""
    value = _number(likeliest, "value")
    return str(likeliest["person"]), f"; worst of {likeliest['person']}" + ("" if value is None else f", {value:.4g}")


def _number(node: Json, path: str) -> float | None:
    """The finite number at a dotted path; None where there is none."""
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    if isinstance(node, bool) or not isinstance(node, int | float) or not math.isfinite(node):
        return None
    return node


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
