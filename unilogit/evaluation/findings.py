"""Metrics as they are gathered: each a finite number, or None with the reason. Knows nothing of what they measure."""

import math
from collections.abc import Mapping
from typing import TypeAlias

from unilogit.files import JsonObject

Metrics: TypeAlias = JsonObject  # name -> number, or None where there is none, or the metrics of a set or family

NOT_FINITE = "the model's likelihoods are not finite numbers"


class Findings:
    """Metrics by name, those of a set or family one level down.

    Args:
        metrics, unavailable: what to start from; copied.

    Attributes:
        metrics: as put, with None for what is not available.
        unavailable: dotted path of each such None -> why it is one.
    """

    def __init__(self, metrics: Metrics | None = None, unavailable: Mapping[str, str] | None = None) -> None:
        self.metrics: Metrics = {
            name: dict(value) if isinstance(value, dict) else value for name, value in (metrics or {}).items()
        }
        self.unavailable = dict(unavailable or {})

    def put(self, path: tuple[str, ...], value: float | None, reason: str = NOT_FINITE) -> None:
        """Put a metric, in the place of the one of this path if there is one.

        Args:
            path: the metric's name, after those of its set or family.
            value: NaN and infinities become None, for the reason NOT_FINITE.
            reason: why value is None, where it is.
        """
        *families, name = path
        metrics = self.metrics
        for family in families:
            metrics = metrics.setdefault(family, {})
        self.unavailable.pop(".".join(path), None)
        if value is None or not math.isfinite(value):
            self.unavailable[".".join(path)] = reason if value is None else NOT_FINITE
            value = None
        metrics[name] = value
