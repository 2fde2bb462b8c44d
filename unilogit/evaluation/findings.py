"""Metrics as they are gathered: each a finite number, or None with the reason. Knows nothing of what they measure.

A number that leaves out what it cannot be told of says so.
"""

import math
from collections.abc import Mapping
from typing import TypeAlias

from unilogit.files import JsonObject

Metrics: TypeAlias = JsonObject  # name -> number, or None where there is none, or the metrics of a set or family

NOT_FINITE = "the model's likelihoods are not finite numbers"


def left_out(missing: int, total: int, why: str) -> str:
    """How many records a number leaves out, in a sentence; "" for none.

    Args:
        why: a sentence on them.
    """
    return f"{missing} of {total} records are left out: {why}" if missing else ""


class Findings:
    """Metrics by name, those of a set or family one level down.

    Args:
        metrics, unavailable, incomplete: what to start from; copied.

    Attributes:
        metrics: as put, with None for what is not available.
        unavailable: dotted path of each such None -> why it is one.
        incomplete: dotted path of each number that leaves something out -> what, and why.
    """

    def __init__(
        self,
        metrics: Metrics | None = None,
        unavailable: Mapping[str, str] | None = None,
        incomplete: Mapping[str, str] | None = None,
    ) -> None:
        self.metrics: Metrics = {
            name: dict(value) if isinstance(value, dict) else value for name, value in (metrics or {}).items()
        }
        self.unavailable = dict(unavailable or {})
        self.incomplete = dict(incomplete or {})

    def put(self, path: tuple[str, ...], value: float | None, reason: str = NOT_FINITE, left_out: str = "") -> None:
        """Put a metric, in the place of the one of this path if there is one.

        Args:
            path: the metric's name, after those of its set or family.
            value: NaN and infinities become None, for the reason NOT_FINITE.
            reason: why value is None, where it is.
            left_out: what the value leaves out, and why; "" for nothing.
        """
        *families, name = path
        metrics = self.metrics
        for family in families:
            metrics = metrics.setdefault(family, {})
        dotted = ".".join(path)
        self.unavailable.pop(dotted, None)
        self.incomplete.pop(dotted, None)
        if value is None or not math.isfinite(value):
            self.unavailable[dotted] = reason if value is None else NOT_FINITE
            value = None
        elif left_out:
            self.incomplete[dotted] = left_out
        metrics[name] = value

    def add(self, family: str, members: "Findings") -> None:
        """Put all of another one's, none of which is of a family itself, into a family."""
        for name, value in members.metrics.items():
            reason, leaves_out = members.unavailable.get(name, NOT_FINITE), members.incomplete.get(name, "")
            self.put((family, name), value, reason, leaves_out)
