"""The model before unlearning stays that model, and takes no more memory than a loss needs."""

import copy
import math

import numpy as np
import pytest
import torch

from tests.training.tiny import (
    ALTERNATIVES,
    FORGET,
    TOKENIZER,
    largest_difference,
    tiny_model,
    tiny_trainer,
    weights,
)
from unilogit.data.tokenisation import encode_pair
from unilogit.errors import InputError
from unilogit.training.reference import FILE, frozen_copy


def log_p(model, prompt, answer):
    """Of each answer token, from plain full logits."""
    ids, start = encode_pair(TOKENIZER, prompt, answer)
    with torch.no_grad():
        scores = model.eval()(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return np.array([scores[place - 1, ids[place]] for place in range(start, len(ids))])


@pytest.mark.parametrize("knobs", [{}, {"lora_rank": 2}, {"retain_term": "kl"}], ids=str)
def test_log_p_before_unlearning_is_measured_once_and_kept(knobs):
    model = tiny_model()
    parent = copy.deepcopy(model)
    task = tiny_trainer(model, arguments={"alternatives": ALTERNATIVES}, method="dpo", learning_rate=1e-2, **knobs)
    history = task.run()
    answers = [*FORGET, *((prompt, better) for (prompt, _), better in zip(FORGET, ALTERNATIVES, strict=True))]
    assert len(task.examples.reference_log_p) == len(answers)
    for measured, pair in zip(task.examples.reference_log_p, answers, strict=True):
        np.testing.assert_allclose(measured, log_p(parent, *pair), rtol=1e-5)
    assert history[0]["forget_loss"] == pytest.approx(20 * math.log(2), rel=1e-4)
    assert history[-2]["forget_loss"] != pytest.approx(20 * math.log(2), rel=1e-4)


def test_numbers_want_no_second_model():
    assert tiny_trainer(tiny_model(), method="npo").unlearning_loss.reference is None
    assert tiny_trainer(tiny_model(), method="npo", retain_term="kl").unlearning_loss.reference is not None


def test_a_resumed_run_needs_the_numbers_of_the_first(tmp_path):
    tiny_trainer(tiny_model(), tmp_path, method="npo").run()
    (tmp_path / FILE).unlink()
    with pytest.raises(InputError, match=rf"{FILE}: is missing beside its checkpoints; remove .* and start again"):
        tiny_trainer(tiny_model(), tmp_path, method="npo").run()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_reference_model_has_the_checkpoints_dtype_and_stays_as_it_was(dtype):
    model = tiny_model(dtype)
    before = weights(model)
    task = tiny_trainer(model, method="undial", learning_rate=1e-2)
    reference = task.unlearning_loss.reference.model
    assert {parameter.dtype for parameter in reference.parameters()} == {dtype}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    task.run()
    assert largest_difference(weights(reference), before) == 0
    assert largest_difference(weights(model), before) > 1e-3


def test_what_is_not_trained_is_shared():
    model = tiny_model()
    frozen = set(model.model.layers[0].parameters())
    for parameter in frozen:
        parameter.requires_grad_(False)
    reference = frozen_copy(model)
    for (name, own), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert (own is other) == (own in frozen), name
        assert torch.equal(own, other)
        assert not other.requires_grad
    assert reference.lm_head.weight is reference.model.embed_tokens.weight
    assert not reference.training
    assert all(parameter.requires_grad != (parameter in frozen) for parameter in model.parameters())


def test_half_weights_are_not_shared_as_training_widens_them():
    model = tiny_model(torch.bfloat16).requires_grad_(False)
    model.model.norm.requires_grad_(True)
    reference = frozen_copy(model)
    assert not {id(parameter) for parameter in model.parameters()} & {id(other) for other in reference.parameters()}
