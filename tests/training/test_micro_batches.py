"""A step's parts are as few as memory holds, and what they come to is the same."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from tests.adapted import SETTINGS
from tests.training.tiny import FORGET, largest_difference, tiny_model, tiny_trainer, weights
from unilogit.bill import Outline, fewest_parts, training_memory
from unilogit.training import micro_batches
from unilogit.training.config import UnlearnConfig

MODEL = Outline(
    parameters=1000, trained=1000, dtype=torch.bfloat16, head=100, vocabulary=10, token=50, kept=6000, layer=2000
)
CONFIG = UnlearnConfig()


def needed(parts, groups, on_gpu):
    size = groups // parts
    several = replace(MODEL, kept=MODEL.kept * size, layer=MODEL.layer * size)
    return sum(training_memory(several, CONFIG, tokens=7 * size, on_gpu=on_gpu).values())


@given(groups=st.integers(1, 64), memory=st.integers(0, 600_000), on_gpu=st.booleans())
def test_they_are_the_fewest_that_fit(groups, memory, on_gpu):
    parts = fewest_parts(MODEL, CONFIG, groups=groups, tokens=7, memory=memory, on_gpu=on_gpu)
    fitting = [n for n in range(1, groups + 1) if groups % n == 0 and needed(n, groups, on_gpu) <= memory]
    assert parts == min(fitting, default=groups)


@pytest.mark.parametrize("knobs", [{}, {"lora_rank": 2}, {"method": "idk_dpo"}], ids=str)
def test_a_run_takes_its_steps_in_parts_where_memory_is_short(knobs, monkeypatch):
    results = []
    for memory in (1 << 40, 1):
        monkeypatch.setattr(micro_batches, "total_memory", lambda device, memory=memory: memory)
        model = tiny_model(torch.float64)
        trainer = tiny_trainer(model, accumulation="auto", arguments={"forget": FORGET[:7]}, **knobs)
        results.append((trainer.args.gradient_accumulation_steps, trainer.run(), weights(trainer.model)))
    (whole, history, after), (parts, history_of_parts, after_parts) = results
    assert (whole, parts) == (1, 4)
    assert history[-1]["step"] == history_of_parts[-1]["step"]
    assert largest_difference(after, after_parts) < 1e-6


def test_memory_between_is_used(monkeypatch):
    """Each part more needs less, so that a device that is made smaller byte by byte gets every divisor in turn."""
    found = []
    for exponent in range(16, 32):
        monkeypatch.setattr(micro_batches, "total_memory", lambda device, exponent=exponent: 1 << exponent)
        found.append(tiny_trainer(tiny_model(), accumulation="auto").args.gradient_accumulation_steps)
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (4, 1)


def test_an_adapter_of_ones_own_is_counted_too(monkeypatch):
    monkeypatch.setattr(micro_batches, "total_memory", lambda device: 1)
    adapted = get_peft_model(tiny_model(), LoraConfig(**SETTINGS))
    assert tiny_trainer(adapted, accumulation="auto").args.gradient_accumulation_steps == 4


def test_processes_share_the_memory_of_a_processor_alone():
    assert micro_batches.memory_of_process(1000, 4, on_gpu=False) == 200
    assert micro_batches.memory_of_process(1000, 4, on_gpu=True) == 800
