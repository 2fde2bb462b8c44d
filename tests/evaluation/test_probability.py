"""Likelihood of answers against a plain loop: one pair at a time, full logits, float64 log-softmax."""

import math

import numpy as np
import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from unilogit.data.tokenisation import encode_prompt
from unilogit.evaluation.probability import normalized_probability, score_answers
from unilogit.evaluation.token_scores import inference
from unilogit.training.from_scratch import train_tokenizer

PAIRS = [
    ("Who wrote it?", "A hand unseen, in the winter of 1907."),
    ("Where?", "x"),
    ("", "Plain text without any prompt at all."),
    ("A much longer question than all the others here, is it not?", ""),
    ("Who wrote it?", "Nobody."),
]
TOKENIZER = train_tokenizer([text for pair in PAIRS for text in pair], 300)
SIZES = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": TOKENIZER.pad_token_id,
    "bos_token_id": TOKENIZER.bos_token_id,
    "eos_token_id": TOKENIZER.eos_token_id,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama, untied, biased": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True)),
    "gemma2 (capped logits)": lambda: Gemma2ForCausalLM(
        Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.5, initializer_range=0.3)
    ),
    "cohere (scaled logits)": lambda: CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.2)),
    "granite (divided logits)": lambda: GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=8.0)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=len(TOKENIZER), n_embd=16, n_layer=2, n_head=2, n_positions=256)
    ),
}


def build(name="llama"):
    torch.manual_seed(0)
    model = MODELS[name]()
    with torch.no_grad():  # random initial weights give nearly uniform probabilities: too easy
        for parameter in model.parameters():
            parameter.mul_(4)
    return model.eval()


def plain_nll(model, prompt, answer):
    """Sum of -log p over the answer's tokens and the end of sequence."""
    before = encode_prompt(TOKENIZER, prompt)
    wanted = [*TOKENIZER.encode(answer, add_special_tokens=False), TOKENIZER.eos_token_id]
    with torch.no_grad():
        logits = model(torch.tensor([before + wanted])).logits[0].double()
    log_p = torch.log_softmax(logits, dim=-1)
    return -sum(float(log_p[len(before) - 1 + i, token]) for i, token in enumerate(wanted)), len(wanted)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_tokens", [1, 80, 800])
def test_scores_equal_a_plain_loop(name, batch_tokens):
    model = build(name)
    scores = score_answers(model, TOKENIZER, *zip(*PAIRS, strict=True), batch_tokens=batch_tokens)
    expected = [plain_nll(model, *pair) for pair in PAIRS]
    assert scores["n_tokens"].tolist() == [n for _, n in expected]
    assert scores["n_tokens"].min() == 1  # the empty answer: the end of sequence alone
    np.testing.assert_allclose(scores["sum_nll"], [nll for nll, _ in expected], rtol=2e-5)
    np.testing.assert_allclose(scores["nll"], [nll / n for nll, n in expected], rtol=2e-5)
    np.testing.assert_allclose(scores["probability"], [math.exp(-nll / n) for nll, n in expected], rtol=2e-4)


def test_the_prompt_is_not_scored_but_matters():
    model = build()
    scores = score_answers(model, TOKENIZER, ["Where?", "Who wrote it?"], ["x", "x"], batch_tokens=80)
    assert scores["n_tokens"].tolist() == [2, 2]
    assert scores["nll"][0] != scores["nll"][1]


def test_nothing_to_score_is_an_empty_frame():
    scores = score_answers(build(), TOKENIZER, [], [], batch_tokens=80)
    assert scores.empty
    assert "probability" in scores


def test_more_rows_than_are_scored_at_once(monkeypatch):
    model = build()
    whole = score_answers(model, TOKENIZER, *zip(*PAIRS, strict=True), batch_tokens=200)
    monkeypatch.setattr("unilogit.evaluation.token_scores._LOGITS_AT_ONCE", 3)
    parts = score_answers(model, TOKENIZER, *zip(*PAIRS, strict=True), batch_tokens=200)
    np.testing.assert_allclose(parts["nll"], whole["nll"], rtol=1e-6)


def test_inference_switches_dropout_off_and_restores_the_mode():
    model = build().train()
    with inference(model):
        assert not model.training
        assert not torch.is_grad_enabled()
    assert model.training


def test_normalized_probability():
    assert normalized_probability(0.6, [0.1, 0.3]) == pytest.approx(0.6 / (1.0 + 1e-10), rel=1e-12)
    assert normalized_probability(0.0, [0.0]) == 0.0
    assert math.isnan(normalized_probability(0.5, []))
