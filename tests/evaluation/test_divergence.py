"""Divergence of two models against a loop over tokens in float64."""

import math

import pytest
import torch
from torch.nn.functional import kl_div

from tests.evaluation.short_context import LONG, plain_rows, short_model
from tests.evaluation.test_probability import PAIRS, TOKENIZER, build
from unilogit.data.tokenisation import encode_pair
from unilogit.errors import InputError
from unilogit.evaluation import token_scores
from unilogit.evaluation.divergence import divergence


def other():
    torch.manual_seed(3)
    model = build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def rows(model, prompt, answer):
    ids, start = encode_pair(TOKENIZER, prompt, answer)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, start - 1 : -1].double().log_softmax(dim=1)


@pytest.mark.parametrize("at_once", [1 << 25, 700])
def test_both_directions_equal_a_plain_loop(at_once, monkeypatch):
    monkeypatch.setattr(token_scores, "_LOGITS_AT_ONCE", at_once)
    model, reference = build(), other()
    sums = divergence(model, reference, TOKENIZER, *zip(*PAIRS, strict=True), batch_tokens=80)
    for row, pair in zip(sums.itertuples(), PAIRS, strict=True):
        log_p, log_reference = rows(model, *pair), rows(reference, *pair)
        assert row.n_tokens == len(log_p)
        expected = kl_div(log_p, log_reference, reduction="sum", log_target=True).item()
        assert row.kl_reference_to_model == pytest.approx(expected, rel=1e-4)
        expected = kl_div(log_reference, log_p, reduction="sum", log_target=True).item()
        assert row.kl_model_to_reference == pytest.approx(expected, rel=1e-4)


def test_a_model_is_at_no_distance_from_itself():
    sums = divergence(build(), build(), TOKENIZER, *zip(*PAIRS, strict=True), batch_tokens=80)
    assert sums["kl_reference_to_model"].abs().max() == sums["kl_model_to_reference"].abs().max() == 0


def test_a_broken_model_is_at_no_distance_that_is_a_number():
    broken = build()
    with torch.no_grad():
        broken.lm_head.weight.fill_(math.nan)
    sums = divergence(broken, build(), TOKENIZER, *zip(*PAIRS, strict=True), batch_tokens=80)
    assert sums[["kl_reference_to_model", "kl_model_to_reference"]].isna().all(axis=None)
    assert len(divergence(build(), build(), TOKENIZER, [], [], batch_tokens=80)) == 0


def test_another_vocabulary_is_refused():
    reference = other()
    reference.resize_token_embeddings(len(TOKENIZER) + 1)
    with pytest.raises(InputError, match=r"is compared with one of \d+"):
        divergence(build(), reference, TOKENIZER, ["Where?"], ["x"], batch_tokens=80)


def test_a_long_answer_is_compared_whole_in_windows_that_both_models_hold():
    model, reference = short_model(64), short_model(48, seed=1)
    sums = divergence(model, reference, TOKENIZER, *zip(*LONG, strict=True), batch_tokens=120)
    for row, pair in zip(sums.itertuples(), LONG, strict=True):
        log_p, log_reference = plain_rows(model, *pair, 48)[0], plain_rows(reference, *pair, 48)[0]
        assert row.n_tokens == len(log_p)
        expected = kl_div(log_p, log_reference, reduction="sum", log_target=True).item()
        assert row.kl_reference_to_model == pytest.approx(expected, rel=1e-4)
        expected = kl_div(log_reference, log_p, reduction="sum", log_target=True).item()
        assert row.kl_model_to_reference == pytest.approx(expected, rel=1e-4)
