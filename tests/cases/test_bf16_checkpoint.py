"""A checkpoint of 16 bits at a small learning rate: what is trained is float32, so no step is lost."""

import copy

import pytest
import torch

from tests.training.test_precision import HALF, Look
from tests.training.tiny import largest_difference, tiny_model, tiny_trainer, weights


def losses(history):
    return [entry["loss"] for entry in history if "loss" in entry]


@HALF
@pytest.mark.parametrize("bf16", ["auto", False])
def test_a_checkpoint_of_16_bits_is_trained_as_if_it_were_of_32(dtype, bf16):
    """AdamW's steps of 5e-5 are lost on most weights of 16 bits; here each is taken."""
    half = tiny_model(dtype)
    full = copy.deepcopy(half).float()  # the rounded start, so only the training can differ
    start = weights(full)
    knobs = {"learning_rate": 5e-5, "epochs": 10, "bf16": bf16}
    expected = tiny_trainer(full, **knobs).run()
    task = tiny_trainer(half, **knobs)
    trained = Look(lambda model: {name: p.detach().clone() for name, p in model.named_parameters()})
    task.add_callback(trained)
    history = task.run()
    assert losses(history) == losses(expected)
    last = trained.taken[-1]
    assert {tensor.dtype for tensor in last.values()} == {torch.float32}
    for name, tensor in last.items():
        assert (tensor != start[name]).float().mean() > 0.99, name
    rounded = {name: tensor.to(dtype) for name, tensor in weights(full).items()}
    assert largest_difference(weights(half), rounded) == 0
