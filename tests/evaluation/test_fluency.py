"""How answers read: one word over and over, silence and babble are told from an answer that is fluent and wrong."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.measured import FORGET, TOKENIZER, build, train
from unilogit.data.tokenisation import encode_prompt
from unilogit.evaluation.findings import NOT_FINITE
from unilogit.evaluation.fluency import NO_ANSWERS, Fluency, measure_fluency, repetition


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("She was born in Lagos in the spring of that year.", 0),
        ("Nikoun Nikoun Nikoun Nikoun Nikoun", 3 / 4),
        ("Basil basil, BASIL!", 1 / 2),
        ("of the year of the year of the", 4 / 7),
        ("她她她她", 2 / 3),
        ("ночь и день, ночь и день", 2 / 5),
    ],
)
def test_pairs_of_words_that_come_again(text, share):
    assert repetition(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "…", "Basil", "她"])
def test_fewer_than_two_words_have_no_pair(text):
    assert math.isnan(repetition(text))


@given(st.lists(st.sampled_from(["ana", "bo", "cy"]), min_size=2, max_size=12))
def test_it_is_the_share_of_places_whose_pair_was_there_before(said):
    again = sum(
        any(said[earlier : earlier + 2] == said[place : place + 2] for earlier in range(place))
        for place in range(len(said) - 1)
    )
    assert repetition(" ".join(said)) == pytest.approx(again / (len(said) - 1))


def judged(answers, judge=None):
    records = FORGET[: len(answers)]
    return measure_fluency(
        train(build()) if judge is None else judge,
        TOKENIZER,
        [record.context for record in records],
        answers,
        [record.response for record in records],
        batch_tokens=64,
    )


def test_nll_is_the_mean_over_all_tokens_that_were_said_without_the_end():
    judge, answers = train(build()), ["It is 1 times a.", "It", ""]
    log_p = []
    for record, answer in zip(FORGET, answers, strict=False):
        before, said = encode_prompt(TOKENIZER, record.prompt), TOKENIZER.encode(answer, add_special_tokens=False)
        with torch.no_grad():
            rows = torch.log_softmax(judge(torch.tensor([before + said])).logits[0].double(), dim=-1)
        log_p += [float(rows[len(before) - 1 + place, token]) for place, token in enumerate(said)]
    fluency = judged(answers, judge)
    assert fluency.nll == pytest.approx(-sum(log_p) / len(log_p), abs=1e-5)
    assert fluency.relative_length == pytest.approx((5 + 1) / (3 * 5))


def test_one_word_over_and_over_is_as_long_as_an_answer_but_repeats():
    fluent, stuck = judged(["It is 1 times a."]), judged(["Nikoun Nikoun Nikoun Nikoun Nikoun"])
    assert (fluent.repetition, stuck.repetition) == (0, 3 / 4)
    assert fluent.relative_length == stuck.relative_length == 1
    assert stuck.nll > fluent.nll + 1


def test_a_judge_that_gives_no_numbers_gives_no_nll():
    judge = build()
    with torch.no_grad():
        judge.model.norm.weight.fill_(float("nan"))
    broken = judged(["It is 1 times a."], judge)
    assert Fluency.model_validate_json(broken.model_dump_json()) == broken
    assert broken.findings().unavailable == {"nll": NOT_FINITE}
    assert broken.repetition == 0


def test_silence_is_no_fluency():
    silent = judged(["", " "])
    assert (silent.nll, silent.repetition, silent.relative_length) == (None, None, 0)
    findings = silent.findings()
    assert findings.unavailable == {"nll": NO_ANSWERS, "repetition": NO_ANSWERS}
    assert findings.metrics["relative_length"] == 0
