"""Every text once, within the tokens there are, and fewer of them for good once memory has failed."""

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.test_probability import TOKENIZER, build
from unilogit.errors import InputError
from unilogit.evaluation import batching
from unilogit.evaluation.batching import fixed_batches, in_batches, token_bytes, tokens_at_once
from unilogit.evaluation.divergence import divergence
from unilogit.evaluation.probability import score_answers

LENGTHS = [7, 30, 12, 30, 3, 25, 12]
FULL = "CUDA out of memory. Tried to allocate 2 GiB."


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(batching, "_budgets", {})
    return build()


def holding(tokens, met):
    """Work that memory fails beyond so many tokens."""

    def work(batch):
        size = len(batch) * max(LENGTHS[place] for place in batch)
        if size > tokens:
            raise torch.cuda.OutOfMemoryError(FULL)
        met.append(batch)

    return work


@given(lengths=st.lists(st.integers(1, 60)), batch_tokens=st.integers(1, 200))
def test_every_text_is_in_one_batch_that_is_no_larger_than_it_may_be(lengths, batch_tokens):
    met = []
    in_batches(met.append, lengths, None, batch_tokens, None)
    assert sorted(place for batch in met for place in batch) == list(range(len(lengths)))
    assert met == list(fixed_batches(lengths, batch_tokens))
    sizes = [(len(batch), max(lengths[place] for place in batch)) for batch in met]
    assert all(count * longest <= batch_tokens or count == 1 for count, longest in sizes)
    assert [longest for _, longest in sizes] == sorted((longest for _, longest in sizes), reverse=True)
    for batch in met[:-1]:  # none but the last has room left for a text
        assert (len(batch) + 1) * lengths[batch[0]] > batch_tokens


def test_what_memory_failed_to_hold_is_not_tried_again(model, caplog):
    met, again = [], []
    with caplog.at_level(logging.WARNING):
        in_batches(holding(65, met), LENGTHS, model, None, None)
        said = len(caplog.records)
        in_batches(holding(65, again), LENGTHS, build(), None, None)  # of the same shape
    assert sorted(place for batch in met for place in batch) == list(range(len(LENGTHS)))
    assert sorted(place for batch in again for place in batch) == list(range(len(LENGTHS)))
    assert 32 < tokens_at_once(model) <= 65
    assert 1 <= said == len(caplog.records)
    assert "memory does not hold 210 tokens at once" in caplog.text


def test_a_text_that_memory_does_not_hold_alone_ends_it(model):
    with pytest.raises(InputError, match=r"a single text of 30 tokens; lower model\.max_length"):
        in_batches(holding(20, []), LENGTHS, model, None, None)


def test_tokens_that_were_asked_for_are_not_changed(model):
    with pytest.raises(InputError, match=r"does not hold 90 tokens at once; where evaluate\.batch_tokens"):
        in_batches(holding(65, []), LENGTHS, model, 90, None)


def test_other_errors_are_as_they_are(model):
    def fail(batch):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_batches(fail, LENGTHS, model, None, None)


def test_free_memory_decides(model, monkeypatch):
    monkeypatch.setattr(batching, "free_memory", lambda device: 100 * token_bytes(model))
    assert tokens_at_once(model) == 100 * batching.SHARE
    monkeypatch.setattr(batching, "_budgets", {})
    monkeypatch.setattr(batching, "free_memory", lambda device: 1 << 60)
    assert tokens_at_once(model) == batching.MOST_TOKENS


def test_the_bytes_of_a_token_are_those_of_its_widest_tensors():
    config = build().config  # by hand: activations, keys and values of each layer in float32, and its logits
    numbers = 6 * config.hidden_size + 3 * config.intermediate_size + 2 * config.num_hidden_layers * config.hidden_size
    assert token_bytes(build()) == 4 * numbers + 4 * config.vocab_size


def test_scores_and_divergences_are_the_same_however_they_are_batched():
    model, other = build(), build("llama, untied, biased")
    pairs = [("Where?", "x " * n) for n in range(1, 12)]
    prompts, answers = zip(*pairs, strict=True)
    for tokens in (40, 100, None):
        alone, together = (
            score_answers(model, TOKENIZER, prompts, answers, batch_tokens=size)["nll"] for size in (1, tokens)
        )
        assert together.to_list() == pytest.approx(alone.to_list(), rel=1e-5)
        alone, together = (
            divergence(model, other, TOKENIZER, prompts, answers, batch_tokens=size)["kl_model_to_reference"]
            for size in (1, tokens)
        )
        assert together.to_list() == pytest.approx(alone.to_list(), rel=1e-4)
