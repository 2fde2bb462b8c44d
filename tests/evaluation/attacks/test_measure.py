"""All attacks at once: which are made, with which settings, and their curves against plain means."""

import copy
import math

import numpy as np
import pandas as pd
import pytest

from unilogit.errors import InputError
from unilogit.evaluation.attacks.measure import ATTACKS, RobustnessSettings, measure_robustness, robustness_curve
from unilogit.evaluation.attacks.prefix_attack import prefix_attack

SETTINGS = RobustnessSettings(
    batch_size=8,
    max_new_tokens=12,
    prefix_tokens=(0, 2, 6),
    samples=(1, 3),
    relearning_steps=(0, 2),
    relearning_rate=1e-3,
)


@pytest.fixture
def measured(knowing, tokenizer, records):
    return measure_robustness(knowing, tokenizer, records, SETTINGS)


def test_curves_are_means_over_records(measured, records):
    assert list(measured) == list(ATTACKS)
    for attack, examples in measured.items():
        curve = robustness_curve(attack, examples)
        points = [tuple(point) for point in examples[ATTACKS[attack]].drop_duplicates().to_numpy().tolist()]
        assert [tuple(row) for row in curve[ATTACKS[attack]].to_numpy().tolist()] == sorted(points)
        for row in curve.to_dict("records"):
            at_point = [e for e in examples.to_dict("records") if all(e[name] == row[name] for name in ATTACKS[attack])]
            assert row["n"] == len(at_point)
            for value in {"probability", "rouge_l_recall"} & set(examples.columns):
                assert row[value] == pytest.approx(np.mean([e[value] for e in at_point]))
    assert robustness_curve("sampling", measured["sampling"])["samples"].tolist() == [1, 3]
    assert robustness_curve("quantisation", measured["quantisation"])["bits"].tolist() == [4, 8, 32]
    relearning = robustness_curve("relearning", measured["relearning"])
    assert relearning["n"].tolist() == [11, 11, 1, 1]
    assert measured["prefix_attack"]["record_id"].nunique() == len(records)


def test_only_what_is_switched_on_is_measured(knowing, tokenizer, records):
    settings = RobustnessSettings(attacks=("prefix_attack",), batch_size=8, max_new_tokens=12, prefix_tokens=(1,))
    found = measure_robustness(knowing, tokenizer, records, settings)
    expected = prefix_attack(knowing, tokenizer, records, prefix_tokens=(1,), batch_size=3, max_new_tokens=12)
    assert list(found) == ["prefix_attack"]
    assert found["prefix_attack"].equals(expected)


def test_unknown_attacks_are_refused():
    with pytest.raises(InputError, match=r"telepathy.*choose from.*relearning"):
        RobustnessSettings(attacks=("relearning", "telepathy"))


def test_an_empty_set_has_empty_curves(untrained, tokenizer):
    for attack, examples in measure_robustness(untrained, tokenizer, [], SETTINGS).items():
        curve = robustness_curve(attack, examples)
        assert curve.empty
        assert {*ATTACKS[attack], "n"} < set(curve.columns)


def test_a_model_without_finite_likelihoods_has_no_mean(untrained, tokenizer, records):
    broken = copy.deepcopy(untrained)
    broken.model.norm.weight.data.fill_(math.nan)
    measured = measure_robustness(broken, tokenizer, records, SETTINGS)
    for attack in ("quantisation", "relearning", "paraphrased_prompts"):
        assert robustness_curve(attack, measured[attack])["probability"].isna().all()
    examples = pd.DataFrame({"record_id": ["a", "b", "a", "b"], "bits": [4, 4, 8, 8]})
    examples["probability"] = [0.5, math.nan, 0.5, 0.25]
    assert robustness_curve("quantisation", examples)["probability"].tolist() == pytest.approx(
        [math.nan, 0.375], nan_ok=True
    )


def test_bars_name_the_attack_and_stay_away_unless_asked(knowing, tokenizer, records, capfd):
    measure_robustness(knowing, tokenizer, records[:2], SETTINGS)
    assert capfd.readouterr().err == ""
    measure_robustness(knowing, tokenizer, records[:2], SETTINGS, progress="after")
    shown = capfd.readouterr().err
    for attack in ATTACKS:
        assert f"after: {attack.replace('_', ' ')}" in shown
