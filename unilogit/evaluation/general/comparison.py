"""Ordinary chat before and after, beside the other metrics of the models. Knows what was measured of each alone."""

from collections.abc import Mapping

from unilogit.evaluation.findings import Findings, Metrics
from unilogit.evaluation.general.measure import GeneralMeasures

LEAST_RIGHT = 20  # answers before; with fewer, their share after says more of chance than of the model


def add_general(metrics: Metrics, measured: Mapping[str, GeneralMeasures]) -> None:
    """Add what was measured on ordinary chat to what `compare` gives: `general` of each role, and what is retained.

    Args:
        metrics: of `compare`; changed.
        measured: role → measures; of before and after at least.
    """
    for role, general in measured.items():
        metrics[role]["general"] = general.metrics
        prefix = "" if role == "after" else f"{role}."
        for name, reason in general.unavailable.items():
            metrics["unavailable"][f"{prefix}general.{name}"] = reason
    findings = Findings({"retained": metrics["after"].get("retained", {})}, metrics["unavailable"])
    for name in ("accuracy", "probability", "perplexity"):
        value, reason = _share(name, measured["before"], measured["after"])
        findings.put(("retained", f"general_{name}"), value, reason)
    metrics["after"]["retained"] = findings.metrics["retained"]
    metrics["unavailable"] = findings.unavailable


def _share(name: str, before: GeneralMeasures, after: GeneralMeasures) -> tuple[float | None, str]:
    """after / before; or None and why."""
    was, is_now = before.metrics[name], after.metrics[name]
    if was is None or is_now is None:
        return None, (before.unavailable | after.unavailable)[name]
    if name == "accuracy":
        asked = before.metrics["n"] or 0
        if (right := round(was * asked)) < LEAST_RIGHT:
            return None, (
                f"it is after / before, and before gave {right} right answers to {asked:.0f} general questions;"
                f" with fewer than {LEAST_RIGHT} a loss cannot be told from chance"
            )
    return is_now / was, ""
