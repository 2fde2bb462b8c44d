"""Which knob would help a gate that failed. Holds words only."""

from unilogit.gates import GateVerdict

_STRONGER = (
    "raise unlearn.learning_rate, unlearn.epochs or unlearn.min_steps, or lower unlearn.retain_weight: the forgotten is"
    " still known"
)
_GENTLER = "lower unlearn.learning_rate, or let unlearn.target be auto with a holdout: the forgotten stands out"
_FLUENT = (
    "lower unlearn.learning_rate, raise unlearn.retain_weight, or let unlearn.target be auto with a holdout: answers"
    " about the forgotten do not read as those of a model that never knew them"
)
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


def is_still_known(verdict: GateVerdict) -> bool:
    """Whether a failed gate says that more of the same unlearning would help: the model may be gone on from."""
    return verdict.value is not None and advice(verdict) in (_STRONGER, _DEEPER)


def advice(verdict: GateVerdict) -> str:
    """The knobs of params.yaml that move a failed gate's metric the right way, and why; what is unavailable is said.

    Args:
        verdict: of a gate that failed.
    """
    if verdict.value is None:
        return "give what the metric needs, or remove the gate"
    is_least = verdict.op.startswith(">")
    by_family = {
        "forget_quality": _COMPARED,
        "retain_divergence": _COMPARED,
        "privleak": _STRONGER if is_least else _GENTLER,  # negative: not forgotten enough
        "fluency": _FLUENT,
    }
    by_scope = {"utility": _KINDER, "robustness": _DEEPER}
    family, _, _ = verdict.metric.partition(".")
    return by_family.get(family) or by_scope.get(verdict.scope) or (_GENTLER if is_least else _STRONGER)
