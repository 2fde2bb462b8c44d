"""Which knob would help a gate that failed. Holds words only."""

from unilogit.gates import GateVerdict

_STRONGER = (
    "raise unlearn.learning_rate, unlearn.epochs or unlearn.min_steps, or lower unlearn.retain_weight: the forgotten is"
    " still known"
)
_GENTLER = "lower unlearn.learning_rate, or keep unlearn.pause_forgotten true with a holdout: the forgotten stands out"
_KINDER = (
    "raise unlearn.retain_weight, unlearn.retain_per_forget or unlearn.neighbour_share, or lower unlearn.learning_rate:"
    " what is to be kept was damaged"
)
_DEEPER = (
    "raise unlearn.learning_rate or unlearn.min_steps, or train all weights (unlearn.lora_rank: null): what was"
    " forgotten comes back under attack"
)
_COMPARED = (
    "compare the forget set's probability with the retain model's: where it is higher, raise unlearn.learning_rate or"
    " unlearn.min_steps; where it is lower, lower them"
)


def advice(verdict: GateVerdict) -> str:
    """The knobs of params.yaml that move a failed gate's metric the right way, and why; what is unavailable is said.

    Args:
        verdict: of a gate that failed.
    """
    if verdict.value is None:
        return "give what the metric needs, or remove the gate"
    if verdict.metric.startswith(("forget_quality", "retain_divergence")):
        return _COMPARED
    if verdict.scope == "utility":
        return _KINDER
    if verdict.op.startswith(">"):
        return _GENTLER
    return _DEEPER if verdict.scope == "robustness" else _STRONGER
