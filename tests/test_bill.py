"""What training needs, against a model that is really there, and the peak of a process that really unlearns."""

import json
import subprocess
import sys

import pytest
import torch

from tests import tiny
from tests.adapted import save_random_adapter
from unilogit.bill import Outline, full_training_memory, outline, training_memory
from unilogit.errors import InputError
from unilogit.model import load_model
from unilogit.training.config import UnlearnConfig
from unilogit.training.lora import add_lora

SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.save_model(tmp_path_factory.mktemp("base"), 0, **SIZE)


def told(name, rows=2, length=8, bf16=False, further=False, **knobs):
    return outline(name, UnlearnConfig(**knobs), rows=rows, length=length, bf16=bf16, further=further)


def test_parameters_are_those_of_the_model_and_of_its_adapters(base):
    model = load_model(base)[0]
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert (told(base).parameters, told(base).trained) == (whole, whole)
    adapted = add_lora(model, UnlearnConfig(lora_rank=4), 0)
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert (told(base, lora_rank=4).parameters, told(base, lora_rank=4).trained) == (whole, trained)
    assert told(base).head == model.lm_head.weight.numel()


def test_an_adapter_of_ones_own_is_trained_alone(base, tmp_path):
    save_random_adapter(tmp_path / "adapter", base)
    further = told(str(tmp_path / "adapter"), further=True)
    assert 0 < further.trained < further.parameters
    merged = told(str(tmp_path / "adapter"))
    assert merged.trained == merged.parameters == further.parameters


@pytest.mark.parametrize("knobs", [{}, {"lora_rank": 4}, {"gradient_checkpointing": True}])
def test_activations_are_what_a_real_graph_keeps(base, knobs):
    """Counted on real tensors as the graph hands them out, by where they lie in memory."""
    config = UnlearnConfig(**knobs)
    model = load_model(base)[0]
    trained = add_lora(model, config, 0) if config.lora_rank else model
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    own, kept = {parameter.data_ptr() for parameter in trained.parameters()}, {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids, mask = torch.zeros((5, 24), dtype=torch.long), torch.ones((5, 24), dtype=torch.long)
    mask[0, 20:] = 0  # as batches of several lengths have it
    trained.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False)
    expected = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert told(base, rows=5, length=24, **knobs).kept == pytest.approx(expected, rel=0.02)


def test_more_tokens_keep_more_and_bf16_keeps_less(base):
    few, many = told(base, rows=2, length=64), told(base, rows=8, length=64)
    assert many.kept == pytest.approx(4 * few.kept, rel=0.1)
    assert told(base, rows=64, length=64, bf16=True).kept < told(base, rows=64, length=64).kept
    assert told(base, rows=0).kept == 0


MODEL = Outline(
    parameters=1000, trained=1000, dtype=torch.bfloat16, head=100, vocabulary=10, token=50, kept=6000, layer=2000
)


def test_training_all_weights_needs_twenty_bytes_each_and_what_a_step_keeps():
    memory = training_memory(MODEL, UnlearnConfig(), tokens=20, on_gpu=False)
    assert memory == {
        "weights": 4000,
        "gradients": 4000,
        "optimizer": 8000,
        "nearest epoch": 4000,
        "activations": 6000,
        "logits": 20 * 10 * 4 + 400,
    }
    assert training_memory(MODEL, UnlearnConfig(), tokens=20, on_gpu=True)["optimizer"] == 12000
    shared = training_memory(MODEL, UnlearnConfig(), tokens=20, on_gpu=True, shares=4)
    assert (shared["weights"], shared["gradients"], shared["optimizer"]) == (1000, 1000, 3000)
    assert sum(full_training_memory(MODEL).values()) == 16 * 1000


def test_a_model_to_compare_with_is_one_more_unless_adapters_are_trained():
    compared = training_memory(MODEL, UnlearnConfig(retain_term="kl"), tokens=20, on_gpu=False)
    assert compared["model before"] == 2 * 1000
    adapted = Outline(**{**MODEL.__dict__, "trained": 10})
    memory = training_memory(adapted, UnlearnConfig(retain_term="kl", lora_rank=1), tokens=20, on_gpu=True)
    assert "model before" not in memory
    assert (memory["weights"], memory["gradients"], memory["optimizer"]) == (2 * 1000 + 40, 40, 120)
    assert "heap" not in memory
    knobs = UnlearnConfig(retain_term="kl", lora_rank=1)
    apart = training_memory(adapted, knobs, tokens=20, on_gpu=True, starts_apart=True)
    assert apart == memory | {"model before": 2 * 1000}
    assert training_memory(adapted, UnlearnConfig(lora_rank=1), tokens=20, on_gpu=False)["heap"] == 7200


def test_a_step_with_gradient_checkpointing_makes_one_layer_again():
    memory = training_memory(MODEL, UnlearnConfig(gradient_checkpointing=True), tokens=20, on_gpu=False)
    assert memory["activations"] == 8000


def test_no_model_is_told(tmp_path):
    with pytest.raises(InputError, match="nothing-here: no causal language model"):
        told(str(tmp_path / "nothing-here"))


UNLEARN = """
import json, sys
import peft, psutil
from tests.peak import peak_memory
from unilogit import UnlearnConfig, UnlearningTrainer
from unilogit.bill import outline, training_memory
from unilogit.model import load_model

name, knobs = sys.argv[1], json.loads(sys.argv[2])
config = UnlearnConfig(epochs=1, min_steps=2, **knobs)
before = psutil.Process().memory_info().rss
model, tokenizer = load_model(name, own_dtype=True)
pairs = [(f"Where is {i}?", " ".join(f"{i * j % 10} street" for j in range(1, 9))) for i in range(40)]
trainer = UnlearningTrainer(model=model, tokenizer=tokenizer, forget=pairs[:8], retain=pairs[8:], config=config)
longest = max(len(example.ids) for example in (*trainer.examples.forget, *trainer.examples.retain))
trainer.run()
peak = peak_memory() - before
rows = config.batch_size * (1 + config.retain_per_forget)
model = outline(name, config, rows=rows, length=longest, bf16=False, further=False)
print(json.dumps([peak, sum(training_memory(model, config, tokens=rows * longest, on_gpu=False).values())]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [{}, {"lora_rank": 8}, {"gradient_checkpointing": True}, {"retain_term": "kl"}])
def test_the_peak_of_a_real_unlearning_is_near_what_is_told(tmp_path, knobs):
    """Resident memory beyond the program's own: between 0.7 and 1.5 of what was told."""
    size = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8}
    base = tiny.save_model(tmp_path / "base", 0, **size, initializer_range=0.02, vocab_size=8000)
    command = [sys.executable, "-c", UNLEARN, base, json.dumps(knobs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, expected = json.loads(done.stdout.splitlines()[-1])
    assert 0.7 < peak / expected < 1.5
