"""Relearning against a plain loop of training, and on models that hide and that never knew."""

import copy
import sys

import numpy as np
import pytest
import torch

from unilogit.data.tokenisation import encode_pair
from unilogit.errors import InputError
from unilogit.evaluation.attacks import relearning as module
from unilogit.evaluation.attacks.measure import robustness_curves, robustness_metrics
from unilogit.evaluation.attacks.relearning import COLUMNS, _endless_batches, holds_copy, relearning

SETTINGS = {"steps": (0, 1, 3), "share": 0.25, "learning_rate": 1e-3, "step_size": 8, "batch_tokens": 200, "seed": 0}


def test_each_step_equals_a_plain_loop(knowing, tokenizer, records, score):
    found = relearning(knowing, tokenizer, records, **SETTINGS)
    assert list(found.columns) == COLUMNS
    assert found["step"].tolist() == [step for step in (0, 1, 3) for _ in records]
    assert found["record_id"].tolist() == [r.record_id for r in records] * 3
    flags = found["relearned"].to_numpy().reshape(3, -1)
    assert (flags == flags[0]).all()
    taught = [r for r, is_taught in zip(records, flags[0], strict=True) if is_taught]
    assert len(taught) == 3  # a quarter of 12

    plain = copy.deepcopy(knowing)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0)
    for step in range(4):
        if step in SETTINGS["steps"]:
            expected = [score(plain, r.prompt, r.response) for r in records]
            at_step = found[found["step"] == step]
            np.testing.assert_allclose(at_step["probability"], expected, rtol=1e-3)
            np.testing.assert_allclose(at_step["nll"], -np.log(expected), rtol=1e-3, atol=1e-6)
        nll, count = 0, 0
        for r in taught:
            ids, start = encode_pair(tokenizer, r.prompt, r.response)
            log_p = torch.log_softmax(plain(torch.tensor([ids])).logits[0], dim=-1)
            nll = nll - sum(log_p[place - 1, ids[place]] for place in range(start, len(ids)))
            count += len(ids) - start
        (nll / count).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_what_is_only_hidden_comes_back_and_what_was_never_known_does_not(hiding, untrained, tokenizer, records):
    means = {
        name: relearning(model, tokenizer, records, **SETTINGS | {"steps": (0, 20)})
        .groupby(["relearned", "step"])["probability"]
        .mean()
        for name, model in (("hiding", hiding), ("untrained", untrained))
    }
    assert means["hiding"][False, 0] < 0.1
    assert means["hiding"][False, 20] > 0.3
    assert means["untrained"][False, 20] < 0.05
    assert means["hiding"][True, 20] > means["hiding"][False, 20]


def test_the_seed_draws_and_nothing_else_does(knowing, tokenizer, records):
    def drawn(seed):
        torch.manual_seed(seed + 100)
        return relearning(knowing, tokenizer, records, **SETTINGS | {"seed": seed, "step_size": 2})

    assert drawn(1).equals(drawn(1))
    choices = [tuple(drawn(seed)["relearned"]) for seed in range(4)]
    assert len(set(choices)) > 1
    state = torch.get_rng_state()
    relearning(knowing, tokenizer, records, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("count", "taught"), [(1, 1), (4, 1), (12, 1)])
def test_at_least_one_record_is_trained_on(untrained, tokenizer, records, count, taught):
    found = relearning(untrained, tokenizer, records[:count], **SETTINGS | {"share": 0.1, "steps": [1]})
    assert len(found) == count
    assert found["relearned"].sum() == taught


def test_half_precision_and_frozen_weights_are_trained_too(untrained, tokenizer, records):
    model = copy.deepcopy(untrained).to(torch.bfloat16).requires_grad_(False)
    found = relearning(model, tokenizer, records, **SETTINGS | {"steps": (0, 5)})
    means = found[found["relearned"]].groupby("step")["probability"].mean()
    assert means[5] > means[0]
    assert model.dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.fixture
def small_memory(monkeypatch):
    """A device that holds the model, but not a copy to train."""
    monkeypatch.setattr(module, "total_memory", lambda device: 0)


def test_where_a_copy_does_not_fit_adapters_bring_back_what_is_hidden(
    hiding, untrained, tokenizer, records, small_memory
):
    for model, comes_back in ((hiding, True), (untrained, False)):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        examples = relearning(model, tokenizer, records, **SETTINGS | {"steps": (0, 20)})
        assert torch.equal(torch.get_rng_state(), state)
        assert model.state_dict().keys() == before.keys()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.requires_grad for parameter in model.parameters())
        findings = robustness_metrics(robustness_curves({"relearning": examples}))
        assert (findings.metrics["relearned_probability"] > 0.3) == comes_back
        assert findings.incomplete["relearned_probability"].startswith("adapters were trained")


def test_without_peft_adapters_are_refused_by_name(untrained, tokenizer, records, small_memory, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match="adapters need PEFT; pip install"):
        relearning(untrained, tokenizer, records, **SETTINGS)


def test_a_copy_fits_where_all_of_its_sixteen_bytes_a_weight_do():
    assert holds_copy(weights=9, held=18, memory=180)
    assert not holds_copy(weights=9, held=19, memory=180)


def test_no_records(untrained, tokenizer):
    found = relearning(untrained, tokenizer, [], **SETTINGS)
    assert found.empty
    assert list(found.columns) == COLUMNS


def test_batches_take_each_once_before_any_again():
    batches = _endless_batches(5, 2, np.random.default_rng(0))
    for _ in range(3):
        assert sorted(place for _ in range(3) for place in next(batches)) == [0, 1, 2, 3, 4]
