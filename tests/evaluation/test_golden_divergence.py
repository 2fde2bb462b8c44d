"""Divergence of two models against a loop over tokens in float64."""

import pytest
import torch
from torch.nn.functional import kl_div

from tests.evaluation.test_probability import PAIRS, TOKENIZER, build
from unilogit.data.tokenisation import encode_pair
from unilogit.errors import InputError
from unilogit.evaluation import token_scores
from unilogit.evaluation.golden_divergence import golden_divergence


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
    model, golden = build(), other()
    found = golden_divergence(model, golden, TOKENIZER, *zip(*PAIRS, strict=True), batch_size=2)
    for row, pair in zip(found.itertuples(), PAIRS, strict=True):
        log_p, log_golden = rows(model, *pair), rows(golden, *pair)
        assert row.n_tokens == len(log_p)
        expected = kl_div(log_p, log_golden, reduction="sum", log_target=True).item()
        assert row.kl_golden_to_model == pytest.approx(expected, rel=1e-4)
        expected = kl_div(log_golden, log_p, reduction="sum", log_target=True).item()
        assert row.kl_model_to_golden == pytest.approx(expected, rel=1e-4)


def test_a_model_is_at_no_distance_from_itself():
    found = golden_divergence(build(), build(), TOKENIZER, *zip(*PAIRS, strict=True), batch_size=2)
    assert found["kl_golden_to_model"].abs().max() == found["kl_model_to_golden"].abs().max() == 0


def test_another_vocabulary_is_refused():
    golden = other()
    golden.resize_token_embeddings(len(TOKENIZER) + 1)
    with pytest.raises(InputError, match=r"the retain model scores \d+ tokens"):
        golden_divergence(build(), golden, TOKENIZER, ["Where?"], ["x"], batch_size=2)
