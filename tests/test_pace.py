"""What is timed is what takes the time: a model that is slowed down by a known pause is that much slower."""

import time

import pytest
import torch

from tests.training.tiny import FORGET, RETAIN, TOKENIZER, tiny_config, tiny_model
from unilogit.model import Scorer
from unilogit.pace import measure_pace

PAUSE = 0.03
LIMITS = {"max_length": 64, "max_new_tokens": 3, "batch_tokens": 100_000}


def paused(has_targets=False, **config):
    """The pace of a model that pauses in every forward pass."""
    model = tiny_model()
    model.model.register_forward_pre_hook(lambda *_: time.sleep(PAUSE))
    return measure_pace(model, TOKENIZER, FORGET + RETAIN, tiny_config(**config), has_targets=has_targets, **LIMITS)


def test_a_step_a_token_and_an_answer_are_timed():
    pace = paused()
    tokens = sum(len(TOKENIZER.encode(f"{prompt}\n{answer}")) + 2 for prompt, answer in FORGET + RETAIN)
    assert PAUSE <= pace.step < 20 * PAUSE
    assert PAUSE / tokens / 1.2 <= pace.scored < 20 * PAUSE / tokens  # all of them in one batch
    assert 3 * PAUSE <= 32 * pace.answer < 60 * PAUSE  # three tokens of 32 answers
    assert pace.trained * tokens > PAUSE / 4


def test_targets_of_their_own_make_a_step_longer(monkeypatch):
    rows = []
    features = Scorer.features

    def count(self, ids, *rest):
        if torch.is_grad_enabled():  # a step, not what is scored
            rows.append(len(ids))
        return features(self, ids, *rest)

    monkeypatch.setattr(Scorer, "features", count)
    paused(has_targets=False)
    plain, rows[:] = max(rows), []
    assert paused(has_targets=True).step >= PAUSE
    assert max(rows) == plain + tiny_config().batch_size  # each of them once more, after the beginning of another


def test_micro_batches_make_a_step_longer():
    assert paused(accumulation=4).step > 4 * PAUSE


def test_without_a_method_nothing_is_trained():
    assert paused(method="none").step is None


@pytest.mark.parametrize("method", ["dpo", "idk_dpo"])
def test_methods_that_prefer_an_answer_are_timed(method):
    assert paused(method=method).step >= PAUSE


def test_a_rate_that_is_still_to_be_found_is_timed():
    assert paused(learning_rate="auto").step >= PAUSE
