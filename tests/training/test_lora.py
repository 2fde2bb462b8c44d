"""Adapters: what is trained, in which dtype, and what is left of them in the end."""

import copy

import pytest
import torch
from transformers import LlamaForCausalLM, TrainerCallback

from tests.training.tiny import FORGET, TOKENIZER, largest_difference, tiny_model, tiny_trainer, weights
from unilogit.evaluation.probability import score_answers

KNOBS = {"lora_rank": 2, "learning_rate": 1e-2}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)


class Adapters(TrainerCallback):
    """A copy of them at the end of training, by the name of the weight that they are beside."""

    def on_train_end(self, args, state, control, model, **kwargs):
        self.parts = {
            name.removeprefix("base_model.model.").replace(".lora_A.default", "").replace(".lora_B.default", ""): {}
            for name, _ in model.named_parameters()
            if "lora_" in name
        }
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                kind = "A" if "lora_A" in name else "B"
                plain = name.removeprefix("base_model.model.").replace(f".lora_{kind}.default", "")
                self.parts[plain][kind] = parameter.detach().clone()


@DTYPES
def test_adapters_are_trained_alone_and_what_is_merged_is_base_and_adapters(dtype):
    model = tiny_model(dtype)
    before = weights(model)
    task = tiny_trainer(model, **KNOBS)
    trained = {name: parameter for name, parameter in task.model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
    adapters = Adapters()
    task.add_callback(adapters)
    task.run()
    assert task.model is model
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    after = weights(model)
    assert set(adapters.parts) == {name for name in before if "proj" in name}
    for name, weight in before.items():
        if name not in adapters.parts:
            assert torch.equal(weight, after[name])
            continue
        part = 2 * adapters.parts[name]["B"].double() @ adapters.parts[name]["A"].double()
        assert part.abs().max() > 1e-3
        rounding = torch.finfo(dtype).eps * (weight.abs() + part.abs()).double()
        assert ((after[name].double() - weight.double() - part).abs() <= rounding + 1e-7).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_adapters_of_a_16_bit_model_take_the_steps_of_a_32_bit_one(dtype):
    half = tiny_model(dtype)
    full = copy.deepcopy(half).float()
    expected, history = (
        [entry["loss"] for entry in tiny_trainer(model, **KNOBS, epochs=6).run() if "loss" in entry]
        for model in (full, half)
    )
    assert len(history) == 12
    assert expected[-1] < 0.99 * expected[0]
    assert history == pytest.approx(expected, rel=2 * torch.finfo(dtype).eps)


def test_what_is_saved_is_a_plain_model(tmp_path):
    model = tiny_model()
    tiny_trainer(model, **KNOBS).run()
    model.save_pretrained(tmp_path)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path)
    assert largest_difference(weights(loaded), weights(model)) == 0
    prompts, answers = zip(*FORGET, strict=True)
    scores = [score_answers(one, TOKENIZER, prompts, answers, batch_size=8)["nll"].mean() for one in (model, loaded)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_the_model_without_its_adapters_is_the_reference():
    model = tiny_model()
    parent = copy.deepcopy(model).eval()
    task = tiny_trainer(model, retain_term="kl", **KNOBS)
    loss = task.unlearning_loss
    assert loss.reference.model is loss.scorer.model  # no second copy
    inputs = {"input_ids": torch.tensor([[3, 4, 5, 6]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}
    expected = parent.model(**inputs).last_hidden_state

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            with torch.no_grad(), loss.as_reference():
                torch.testing.assert_close(loss.reference.features(**inputs).rows, expected)
            assert not torch.allclose(loss.scorer.features(**inputs).rows, expected)

    task.add_callback(Look())
    task.run()
