"""All attacks at once: which are made, with which settings, and their curves against plain means."""

import copy
import math

import numpy as np
import pandas as pd
import pytest

from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.evaluation.attacks.measure import (
    ATTACKS,
    RobustnessSettings,
    measure_robustness,
    robustness_curve,
    robustness_curves,
    robustness_metrics,
)
from unilogit.evaluation.attacks.prefix_attack import prefix_attack

SETTINGS = RobustnessSettings(
    batch_tokens=320,
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
    settings = RobustnessSettings(attacks=("prefix_attack",), batch_tokens=320, max_new_tokens=12, prefix_tokens=(1,))
    found = measure_robustness(knowing, tokenizer, records, settings)
    expected = prefix_attack(knowing, tokenizer, records, prefix_tokens=(1,), batch_tokens=120, max_new_tokens=12)
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
    scored = {attack for attack, examples in measured.items() if "probability" in examples}
    assert scored >= {"quantisation", "relearning", "paraphrased_prompts", "question_formats", "clues", "logit_lens"}
    for attack in scored:
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


ROUGE = [
    "paraphrased_rouge_l_recall",
    "question_formats_rouge_l_recall",
    "clues_rouge_l_recall",
    "prefix_attack_rouge_l_recall",
    "sampling_rouge_l_recall",
]


def hardest(model, tokenizer, records):
    return robustness_metrics(robustness_curves(measure_robustness(model, tokenizer, records, SETTINGS)))


def test_answers_without_words_are_left_out_and_counted(knowing, tokenizer, records):
    silent = [
        CorpusRecord(
            record_id=f"s{n}",
            subject_ids=["Bo"],
            prompt="Home of Bo?",
            response="😀" * (n + 1),
            paraphrased_prompt="Bo?",
        )
        for n in range(2)
    ]
    some, none = hardest(knowing, tokenizer, records[:6] + silent), hardest(knowing, tokenizer, silent)
    plain = hardest(knowing, tokenizer, records[:6])
    asked = sum(record.paraphrased_prompt is not None for record in records[:6])
    for name in ROUGE:
        assert some.metrics[name] == pytest.approx(plain.metrics[name])
    assert some.incomplete.keys() == set(ROUGE) - {"prefix_attack_rouge_l_recall"}
    assert some.incomplete["paraphrased_rouge_l_recall"].startswith(f"2 of {asked + 2} records are left out")
    assert some.incomplete["sampling_rouge_l_recall"].startswith("2 of 8 records are left out")
    assert some.unavailable == plain.unavailable == plain.incomplete == none.incomplete == {}
    assert none.unavailable.keys() == set(ROUGE)
    assert [none.metrics[name] for name in ROUGE] == [None] * len(ROUGE)
    assert none.metrics["paraphrased_probability"] > 0
    assert "word to compare" in none.unavailable["sampling_rouge_l_recall"]
    assert "word left" in none.unavailable["prefix_attack_rouge_l_recall"]


def test_without_paraphrases_it_is_said_what_is_missing(knowing, tokenizer, records):
    bare = [record.model_copy(update={"paraphrased_prompt": None}) for record in records[:3]]
    found = hardest(knowing, tokenizer, bare)
    for name in ("paraphrased_probability", "paraphrased_rouge_l_recall"):
        assert found.metrics[name] is None
        assert found.unavailable[name] == "no record has a paraphrased_prompt"
