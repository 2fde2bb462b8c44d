"""Knobs of an evaluation: what is refused, and that nobody changes them afterwards."""

from typing import get_args

import pytest
from pydantic import ValidationError

from unilogit.evaluation.attacks.measure import ATTACKS, RobustnessSettings
from unilogit.evaluation.attacks.question_formats import LANGUAGES
from unilogit.evaluation.attacks.sampling import doublings
from unilogit.evaluation.config import Attack, AttackConfig, EvaluateConfig, Language


def test_the_attacks_are_those_that_can_be_made():
    assert set(get_args(Language)) == set(LANGUAGES)
    assert set(get_args(Attack)) == set(AttackConfig().attacks) == set(ATTACKS)
    assert RobustnessSettings(attacks=AttackConfig(attacks=["sampling"]).attacks).attacks == ("sampling",)


def test_attacks_are_as_hard_as_they_are_configured():
    config = EvaluateConfig(
        batch_tokens=11,
        max_new_tokens=12,
        robustness={
            "attacks": ["sampling", "question_formats"],
            "relearning_rate": 1e-3,
            "samples": 24,
            "languages": ["pt"],
        },
    )
    assert RobustnessSettings.from_config(config, seed=13, max_length=14) == RobustnessSettings(
        attacks=("sampling", "question_formats"),
        batch_tokens=11,
        max_new_tokens=12,
        max_length=14,
        seed=13,
        samples=(1, 2, 4, 8, 16, 24),
        languages=("pt",),
        relearning_rate=1e-3,
    )
    default = RobustnessSettings.from_config(EvaluateConfig(), seed=0, max_length=None)
    assert default.samples == RobustnessSettings().samples


@pytest.mark.parametrize(("largest", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8))])
def test_samples_double_up_to_the_most(largest, counts):
    assert doublings(largest) == counts


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"baselines": ["npo", "nop"]}, "one of: .*npo"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"max_examples": -1}, "max_examples"),
        ({"robustness": {"attacks": ["telepathy"]}}, "robustness.attacks"),
        ({"robustness": {"relearning_rate": float("nan")}}, "robustness.relearning_rate"),
        ({"robustness": {"samples": 0}}, "robustness.samples"),
        ({"robustness": {"languages": ["tlh"]}}, "robustness.languages"),
        ({"robustness": {"languages": ["de"], "attacks": ["sampling"]}}, "question_formats .* take them out"),
        ({"general": {"questions": 101}}, "general.questions"),
        ({"general": {"questions": -1}}, "general.questions"),
        ({"max_tokens": 3}, "max_tokens"),
    ],
)
def test_what_no_evaluation_can_do_is_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        EvaluateConfig(**fields)


def test_a_configuration_stays_as_it_is():
    config = EvaluateConfig(baselines=["npo"])
    assert config.baselines == ("npo",)
    with pytest.raises(ValidationError, match="frozen"):
        config.max_examples = 3
    assert hash(config) == hash(EvaluateConfig(baselines=("npo",)))
