"""Perplexity against a plain loop over logits in float64, and the text that ships."""

import math

import pytest
import torch

from tests.evaluation.short_context import LONG, plain_rows, short_model
from tests.evaluation.test_probability import TOKENIZER, build
from unilogit.evaluation.general.text import general_passages, perplexity

PASSAGES = ("A short one.", "", *(answer for _, answer in LONG))


def plain_perplexity(model, passages, max_length):
    log_p = []
    for passage in passages:
        rows, tokens = plain_rows(model, "", passage, max_length)
        log_p += [float(row[token]) for row, token in list(zip(rows, tokens, strict=True))[:-1]]  # without the end
    return math.exp(-sum(log_p) / len(log_p))


@pytest.mark.parametrize("context", [48, 4096])
def test_perplexity_equals_a_plain_loop(context):
    model = short_model(context)
    expected = plain_perplexity(model, PASSAGES, context)
    assert perplexity(model, TOKENIZER, PASSAGES, batch_tokens=120) == pytest.approx(expected, rel=1e-5)
    expected = plain_perplexity(model, PASSAGES, 32)
    assert perplexity(model, TOKENIZER, PASSAGES, max_length=32) == pytest.approx(expected, rel=1e-5)


def test_a_model_that_knows_nothing_is_as_perplexed_as_it_has_tokens():
    model = build()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert perplexity(model, TOKENIZER, PASSAGES) == pytest.approx(len(TOKENIZER))


@pytest.mark.parametrize(("scale", "is_expected"), [(math.nan, math.isnan), (1e6, math.isinf)])
def test_a_broken_model_has_no_finite_perplexity(scale, is_expected):
    model = build()
    with torch.no_grad():
        model.lm_head.weight.normal_(generator=torch.Generator().manual_seed(0)).mul_(scale)
    assert is_expected(perplexity(model, TOKENIZER, PASSAGES))


def test_what_ships():
    passages = general_passages()
    assert len(passages) == len(set(passages)) > 20
    assert 3000 < sum(len(passage.split()) for passage in passages) < 6000
    assert all(passage == passage.strip() and "\n" not in passage and len(passage) > 80 for passage in passages)
    assert sum(not passage.isascii() for passage in passages) >= 5
