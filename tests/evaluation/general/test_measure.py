"""Ordinary chat of small models: against plain loops, and of what is damaged, unchanged, short or broken."""

import math

import pytest
import torch
from torch.nn.functional import kl_div

from tests.evaluation.short_context import short_model
from tests.evaluation.test_probability import TOKENIZER, build
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.evaluation.findings import NOT_FINITE
from unilogit.evaluation.general.measure import ModelBefore, measure_drift, measure_general, nothing_measured
from unilogit.evaluation.general.questions import general_questions

LEARNED = {question.question: question.answers[0] for question in general_questions()[:14]}


@pytest.fixture(scope="module")
def model():
    """It knows the first answers by heart."""
    model = build()
    inputs = collate([encode_pair(TOKENIZER, *pair) for pair in LEARNED.items()], TOKENIZER.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def measured(model):
    return measure_general(model, TOKENIZER)


def damaged(model, noise):
    other = build().eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for mine, parameter in zip(other.parameters(), model.parameters(), strict=True):
            mine.copy_(parameter + torch.randn_like(parameter) * noise)
    return other


def beside(before, model, **settings):
    """What is measured of a model beside the model before."""
    measures = measure_general(model, TOKENIZER, **settings)
    return measures.with_drift(measure_drift(model, TOKENIZER, measures, before))


def test_answers_that_were_learned_are_right(measured):
    assert {question: measured.answers[question] for question in LEARNED} == LEARNED
    said = {question: f" {' '.join(answer.lower().split())} " for question, answer in measured.answers.items()}
    right = [
        any(f" {answer.lower()} " in said[question.question] for answer in question.answers)
        for question in general_questions()
    ]
    assert measured.metrics["n"] == len(right) == 100
    assert measured.metrics["accuracy"] == sum(right) / 100 >= 0.14
    assert not measured.unavailable
    assert set(measured.seconds) == {"general questions", "general answers", "general text"}


def test_probability_is_the_mean_of_that_of_right_sentences(model, measured):
    probabilities = []
    for question in general_questions():
        ids, start = encode_pair(TOKENIZER, question.question, question.sentence)
        with torch.no_grad():
            log_p = model(torch.tensor([ids])).logits[0, start - 1 : -1].double().log_softmax(dim=1)
        probabilities.append(log_p.gather(1, torch.tensor(ids[start:])[:, None]).mean().exp().item())
    assert measured.metrics["probability"] == pytest.approx(sum(probabilities) / 100, rel=1e-4)


def test_a_model_has_not_drifted_from_itself(model, measured):
    again = beside(ModelBefore(model, measured.answers), model)
    assert again.metrics == measured.metrics
    assert again.answers == measured.answers
    assert measured.metrics["drift"] == 0


def test_drift_is_the_divergence_from_the_model_before_on_its_own_answers(model, measured):
    other = damaged(model, 0.02)
    drift = beside(ModelBefore(model, measured.answers), other, text=False).metrics["drift"]
    total, n_tokens = 0.0, 0
    for pair in measured.answers.items():
        ids, start = encode_pair(TOKENIZER, *pair)
        with torch.no_grad():
            log_before, log_after = (
                net(torch.tensor([ids])).logits[0, start - 1 : -1].double().log_softmax(dim=1) for net in (model, other)
            )
        total += kl_div(log_after, log_before, reduction="sum", log_target=True).item()
        n_tokens += len(ids) - start
    assert drift == pytest.approx(total / n_tokens, rel=1e-4)


def test_the_more_damage_the_worse(model, measured):
    before = ModelBefore(model, measured.answers)
    slight, heavy = (beside(before, damaged(model, noise), questions=14, text=False).metrics for noise in (0.01, 0.5))
    assert 1 >= slight["accuracy"] > heavy["accuracy"]
    assert 1 > slight["probability"] > heavy["probability"] > 0
    assert 0 < slight["drift"] < heavy["drift"]


def test_what_is_switched_off_says_so(model):
    measures = measure_general(model, TOKENIZER, questions=0, text=False)
    assert measures == nothing_measured()
    asking = ("accuracy", "probability", "drift")
    assert measures.metrics == {**dict.fromkeys((*asking, "perplexity")), "n": 0}
    [reason] = {measures.unavailable[name] for name in asking}
    assert "evaluate.general.questions" in reason
    assert "evaluate.general.text" in measures.unavailable["perplexity"]
    assert not measures.seconds
    few = measure_general(model, TOKENIZER, questions=7, text=False)
    assert list(few.answers) == list(LEARNED)[:7]


def test_a_short_context_is_asked_what_it_has_room_for():
    assert (
        measure_general(short_model(16), TOKENIZER, text=False)
        .unavailable["accuracy"]
        .startswith("the model's context")
    )
    before = short_model(56)
    measures = measure_general(before, TOKENIZER)
    assert 0 < measures.metrics["n"] == len(measures.answers) < 100
    longer = beside(ModelBefore(before, measures.answers), short_model(64, seed=1))
    assert longer.metrics["n"] > measures.metrics["n"]
    assert longer.metrics["drift"] > 0


def test_a_broken_model_has_no_numbers_but_wrong_answers(model, measured):
    broken = damaged(model, math.nan)
    measures = beside(ModelBefore(model, measured.answers), broken)
    no_number = ("probability", "perplexity", "drift")
    assert measures.metrics == {"accuracy": 0, **dict.fromkeys(no_number), "n": 100}
    assert measures.unavailable == dict.fromkeys(no_number, NOT_FINITE)
