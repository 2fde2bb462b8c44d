"""Every column against a float64 log-softmax of one pair at a time."""

import numpy as np
import pytest
import torch

from tests.evaluation.short_context import CONTEXT, LONG, plain_rows, short_model
from tests.evaluation.test_probability import MODELS, PAIRS, TOKENIZER, build
from unilogit.data.tokenisation import encode_prompt
from unilogit.errors import InputError
from unilogit.evaluation import token_scores
from unilogit.evaluation.token_scores import score_tokens
from unilogit.model import HeadScorer, make_scorer


def plain(model, prompt, answer):
    before = encode_prompt(TOKENIZER, prompt)
    wanted = [*TOKENIZER.encode(answer, add_special_tokens=False), TOKENIZER.eos_token_id]
    with torch.no_grad():
        logits = model(torch.tensor([before + wanted])).logits[0, len(before) - 1 : -1].double()
    log_p = torch.log_softmax(logits, dim=1)
    mean = (log_p.exp() * log_p).sum(dim=1)
    deviation = ((log_p.exp() * (log_p - mean[:, None]) ** 2).sum(dim=1)).sqrt()
    target = torch.tensor(wanted)
    return log_p[range(len(wanted)), target], logits.argmax(dim=1) == target, mean, deviation


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_tokens", [1, 120])
def test_scores_equal_a_plain_loop(name, batch_tokens):
    model = build(name)
    scores = score_tokens(
        model, TOKENIZER, *zip(*PAIRS, strict=True), batch_tokens=batch_tokens, with_distribution=True
    )
    for tokens, pair in zip(scores, PAIRS, strict=True):
        log_p, is_greedy, mean, deviation = plain(model, *pair)
        np.testing.assert_allclose(tokens.log_p, log_p, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(tokens.is_greedy, is_greedy)
        np.testing.assert_allclose(tokens.mean, mean, rtol=1e-4)
        np.testing.assert_allclose(tokens.deviation, deviation, rtol=1e-3, atol=2e-3)
        assert tokens.nll == pytest.approx(-float(log_p.mean()), rel=1e-4)
        assert len(tokens.without_end().log_p) == len(tokens.without_end().mean) == len(log_p) - 1


def test_few_logits_at_once_change_nothing(monkeypatch):
    model = build()
    arguments = (TOKENIZER, *zip(*PAIRS, strict=True))
    whole = score_tokens(model, *arguments, with_distribution=True)
    monkeypatch.setattr(token_scores, "_LOGITS_AT_ONCE", 2 * len(TOKENIZER))
    sizes = []
    logits, scorer = HeadScorer.logits, make_scorer(model)
    monkeypatch.setattr(HeadScorer, "logits", lambda self, rows: sizes.append(len(rows)) or logits(self, rows))
    parts = score_tokens(scorer, *arguments, with_distribution=True)
    assert max(sizes) == 2
    for first, second in zip(whole, parts, strict=True):
        for column, second_column in zip(first, second, strict=True):
            np.testing.assert_allclose(column, second_column, rtol=1e-5)


def test_a_token_that_can_never_come_gives_no_nan():
    model = build("llama, untied, biased")
    with torch.no_grad():
        model.lm_head.weight[5] = 0
    head = torch.nn.Linear(16, len(TOKENIZER))
    head.weight = model.lm_head.weight
    head.bias.data.zero_()[5] = -torch.inf
    model.lm_head = head
    [tokens] = score_tokens(model, TOKENIZER, ["Where?"], ["x"], with_distribution=True)
    assert np.isfinite(tokens.mean).all()
    assert np.isfinite(tokens.deviation).all()


@pytest.mark.parametrize(("context", "max_length", "limit"), [(48, None, 48), (48, 999, 48), (256, 40, 40)])
@pytest.mark.parametrize("batch_tokens", [1, 200])
def test_a_long_answer_is_scored_whole_in_windows(context, max_length, limit, batch_tokens):
    model = short_model(context)
    arguments = (model, TOKENIZER, *zip(*LONG, strict=True))
    for answer, pair in zip(score_tokens(*arguments, max_length=max_length, with_distribution=True), LONG, strict=True):
        rows, tokens = plain_rows(model, *pair, limit)
        np.testing.assert_allclose(answer.log_p, rows[range(len(tokens)), tokens], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(answer.is_greedy, rows.argmax(dim=1) == tokens)
        np.testing.assert_allclose(answer.mean, (rows.exp() * rows).sum(dim=1), rtol=1e-4)
        assert len(answer.deviation) == len(tokens)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_limit_changes_nothing_for_answers_that_fit(name):
    model, arguments = build(name), (TOKENIZER, *zip(*PAIRS, strict=True))
    unlimited = score_tokens(model, *arguments, with_distribution=True)
    for max_length in (256, 80):
        limited = score_tokens(model, *arguments, max_length=max_length, with_distribution=True)
        for first, second in zip(unlimited, limited, strict=True):
            for column, second_column in zip(first, second, strict=True):
                np.testing.assert_array_equal(column, second_column)


def test_a_prompt_without_room_is_refused_by_name():
    model, prompts, answers = short_model(), ["Where?", "Where was it? " * 20], ["x", "x"]
    with pytest.raises(InputError, match=rf"^pair 2: its prompt has \d+ tokens, but .* {CONTEXT} together"):
        score_tokens(model, TOKENIZER, prompts, answers)
    with pytest.raises(InputError, match=r"^record b: its prompt has"):
        score_tokens(model, TOKENIZER, prompts, answers, names=["record a", "record b"])
