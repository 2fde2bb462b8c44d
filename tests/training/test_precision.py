"""Weights are held in float32 while they are trained, and come back in the dtypes that they had."""

import pytest
import torch
from transformers import TrainerCallback

from tests.training.tiny import largest_difference, tiny_model, tiny_trainer, weights
from unilogit.errors import InputError
from unilogit.training.precision import OwnDtypes, computes_in_bf16

HALF = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


class Look(TrainerCallback):
    """Whatever `take` makes of the model after each step."""

    def __init__(self, take):
        self.take, self.taken = take, []

    def on_step_end(self, args, state, control, model, **kwargs):
        self.taken.append(self.take(model))


def dtypes(model):
    return {name: tensor.dtype for name, tensor in (*model.named_parameters(), *model.named_buffers())}


@HALF
@pytest.mark.parametrize("knobs", [{}, {"bf16": True}, {"lora_rank": 2}, {"method": "undial"}], ids=str)
def test_dtypes_are_those_of_before(dtype, knobs, tmp_path):
    model = tiny_model(dtype)
    model.register_buffer("calibration", torch.ones(3, dtype=dtype))
    model.register_buffer("angles", torch.ones(3))
    model.config.dtype = dtype
    before = dtypes(model)
    assert len(set(before.values())) == 2
    task = tiny_trainer(model, tmp_path, **knobs)
    task.run()
    assert task.model is model
    assert dtypes(model) == before
    assert model.config.dtype == dtype
    assert "forward" not in vars(model)  # no wrapper that computes in another dtype stays


def test_bfloat16_is_what_is_computed_in_and_no_more():
    results = []
    for bf16 in (False, True):
        model = tiny_model()
        task = tiny_trainer(model, learning_rate=1e-5, bf16=bf16)
        computed = []
        model.model.layers[0].mlp.register_forward_hook(lambda *call, computed=computed: computed.append(call[2].dtype))
        trained = Look(lambda model: model.dtype)
        task.add_callback(trained)
        task.run()
        assert set(trained.taken) == {torch.float32}
        assert set(computed) == {torch.bfloat16 if bf16 else torch.float32}
        results.append(weights(model))
    assert 0 < largest_difference(*results) < 1e-4


@pytest.mark.parametrize(
    ("has_gpu", "multiplies", "dtype", "expected"),
    [
        (False, False, torch.bfloat16, False),
        (True, True, torch.bfloat16, True),
        (True, True, torch.float16, True),
        (True, True, torch.float32, False),
        (True, False, torch.bfloat16, False),
    ],
)
def test_auto_is_bfloat16_where_a_gpu_multiplies_it_and_the_model_is_of_16_bits(
    has_gpu, multiplies, dtype, expected, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: multiplies)
    assert computes_in_bf16("auto", OwnDtypes(tiny_model(dtype))) == expected


def test_a_gpu_that_cannot_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    with pytest.raises(InputError, match=r"unlearn\.bf16 is true, but this GPU"):
        computes_in_bf16(True, OwnDtypes(tiny_model()))
