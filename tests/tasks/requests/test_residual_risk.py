"""What may remain is said of this person, in the tests' own numbers, and what was not tested is said too."""

import pytest

from tasks.requests.residual_risk import _ATTACKS, residual_risk
from tests.certified import TESTS, certificate
from unilogit.certificates import Measurement, PersonValue
from unilogit.evaluation.registry import METRICS

PREDICATE = certificate().predicate


def told(tests=TESTS, person=None, search=None):
    """The sentences, where person and search are as they are but for these fields."""
    return residual_risk(
        PREDICATE.person.model_copy(update=person or {}), PREDICATE.search.model_copy(update=search or {}), tests
    )


def attack(metric, value=0.25, **person):
    values = {"before": None, "after": None, "retain_model": None, "reason": None, **person}
    fields = {"name": metric, "scope": "robustness", "metric": metric, "op": None, "threshold": None}
    return Measurement(**fields, value=value, person=PersonValue(**values))


def test_the_limits_are_always_said():
    assert told()[0].startswith("Unlearning is no proof of absence.")
    assert "was not found" in told()[1]
    assert "No attack that changes the model or the question was tested." in told()


@pytest.mark.parametrize(
    ("person", "search", "sentence"),
    [
        ({}, {"near_duplicate_threshold": None}, "were not looked for"),
        ({"measured_records": 0, "highest_probability": None}, {}, "None of the person's records was tested"),
        ({}, {}, "Of 3 forgotten records, 2 were tested."),
        ({}, {}, "the one that is remembered best has a probability of 0.087."),
    ],
)
def test_what_was_not_looked_for_or_tested_is_said(person, search, sentence):
    assert any(sentence in line for line in told(person=person, search=search))
    assert not any(sentence in line for line in told(person={"measured_records": 3, "highest_probability": 0.5}))


def test_an_attack_is_told_of_the_person_or_else_of_the_batch():
    own = attack("robustness.quantised_4_bit_probability", after=0.5, retain_model=0.125)
    assert told([own])[-1] == (
        "With weights of 4 bits, the person's answers have a probability of 0.500, beside 0.125 of a model that never"
        " saw them."
    )
    batch = attack("robustness.sampling_rouge_l_recall", retain_model=0.125)
    assert told([batch])[-1] == (
        "As the best of many sampled answers, the batch's answers have a word-for-word share (ROUGE-L) of 0.250."
    )
    lines = told([TESTS[2]])
    assert any("the attack loss takes the former for what the model was trained on in 62% of" in line for line in lines)


def test_a_person_beyond_what_the_batch_keeps_is_named():
    assert told()[-1] == (
        "forget-probability: over the person's records, forget.probability is 0.062, where the batch as a whole keeps"
        " <= 0.05."
    )
    assert len([line for line in told() if "as a whole" in line]) == 1


def test_every_attack_has_words_of_its_own():
    assert {f"robustness.{name}" for name in _ATTACKS} == {name for name in METRICS if name.startswith("robustness.")}
