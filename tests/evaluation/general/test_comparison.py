"""What is said of ordinary chat before and after, and what cannot be said."""

import json

import pytest

from unilogit.evaluation.general.comparison import LEAST_RIGHT, add_general
from unilogit.evaluation.general.measure import GeneralMeasures


def measures(accuracy=0.5, perplexity=20.0, drift=0.0, n=100, probability=0.5, unavailable=()):
    metrics = {
        "accuracy": accuracy,
        "probability": probability,
        "perplexity": perplexity,
        "drift": drift,
        "n": n,
    }
    return GeneralMeasures(metrics=metrics, unavailable=dict(unavailable), answers={}, seconds={})


def compared(before, after, **others):
    metrics = {role: {"model_utility": 0.5} for role in ("before", "after", *others)}
    metrics["after"]["retained"] = {"model_utility": 1.0}
    metrics["unavailable"] = {"privleak": "no reason"}
    add_general(metrics, {"before": before, "after": after, **others})
    json.dumps(metrics, allow_nan=False)
    return metrics


def test_what_is_retained_is_after_by_before():
    metrics = compared(measures(), measures(0.4, 25.0, 0.125, probability=0.25), retain_model=measures(0.3))
    assert metrics["after"]["retained"] == {
        "model_utility": 1.0,
        "general_accuracy": 0.8,
        "general_probability": 0.5,
        "general_perplexity": 1.25,
    }
    assert metrics["after"]["general"] == measures(0.4, 25.0, 0.125, probability=0.25).metrics
    assert metrics["before"] == {"model_utility": 0.5, "general": measures().metrics}
    assert metrics["retain_model"]["general"]["accuracy"] == 0.3
    assert metrics["unavailable"] == {"privleak": "no reason"}


@pytest.mark.parametrize(("right", "asked"), [(0, 100), (LEAST_RIGHT - 1, 100), (3, 7)])
def test_a_loss_is_not_told_from_a_few_right_answers(right, asked):
    metrics = compared(measures(right / asked, n=asked), measures())
    assert metrics["after"]["retained"]["general_accuracy"] is None
    reason = metrics["unavailable"]["retained.general_accuracy"]
    assert f"{right} right answers to {asked} general questions" in reason
    enough = compared(
        measures(LEAST_RIGHT / asked if asked > LEAST_RIGHT else 1.0, n=max(asked, LEAST_RIGHT)), measures()
    )
    assert enough["after"]["retained"]["general_accuracy"] is not None


@pytest.mark.parametrize("role", ["before", "after"])
def test_what_is_not_available_of_one_model_cannot_be_compared(role):
    broken = measures(perplexity=None, unavailable={"perplexity": "no numbers"})
    metrics = compared(**{"before": measures(), "after": measures(), role: broken})
    assert metrics["after"]["retained"]["general_perplexity"] is None
    assert metrics["unavailable"]["retained.general_perplexity"] == "no numbers"
    path = "general.perplexity" if role == "after" else "before.general.perplexity"
    assert metrics["unavailable"][path] == "no numbers"
