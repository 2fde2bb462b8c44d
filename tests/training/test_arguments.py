"""What Trainer is told: one device a process, and as many processes as the configuration says."""

import pytest
import torch
from transformers import TrainingArguments

from tests.training.tiny import tiny_config
from unilogit.errors import InputError
from unilogit.training.arguments import deterministic_algorithms, training_arguments, use_one_device


def arguments(folder, config):
    settings = {"epoch_steps": 9, "seed": 3, "bf16": False, "leaves_weights_out": False}
    return training_arguments(config, str(folder), **settings, find_accumulation=lambda arguments: 4)


def test_losses_are_logged_four_times_between_measurements(tmp_path):
    told = arguments(tmp_path, tiny_config(batch_size=8, accumulation=2))
    assert (told.save_strategy, told.logging_steps, told.seed) == ("no", 2, 3)
    assert (told.per_device_train_batch_size, told.gradient_accumulation_steps) == (4, 2)


def test_parts_are_found_where_they_are_not_given(tmp_path):
    told = arguments(tmp_path, tiny_config(batch_size=8, accumulation="auto"))
    assert (told.per_device_train_batch_size, told.gradient_accumulation_steps) == (2, 4)


def test_several_gpus_are_not_one_device(tmp_path):
    told = TrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=4, use_cpu=True)
    assert told.n_gpu == 0
    told._n_gpu = 4
    assert told.train_batch_size == 16
    use_one_device(told)
    assert (told.n_gpu, told.train_batch_size) == (1, 4)


def test_processes_and_sharding_are_as_the_configuration_says(tmp_path, monkeypatch):
    for knobs in ({"processes": 1}, {"sharding": "none"}, {}):
        arguments(tmp_path, tiny_config(**knobs))
    with pytest.raises(InputError, match=r"unlearn\.processes is 3, but 1 run; start as many"):
        arguments(tmp_path, tiny_config(processes=3))
    with pytest.raises(InputError, match=r"unlearn\.sharding is fsdp, but the processes were started without FSDP"):
        arguments(tmp_path, tiny_config(sharding="fsdp"))
    monkeypatch.setattr(TrainingArguments, "world_size", 3)
    with pytest.raises(InputError, match=r"unlearn\.batch_size is 4, which 3 processes .* make it a multiple of 3"):
        arguments(tmp_path, tiny_config())


@pytest.mark.parametrize("outside", [True, False])
def test_determinism_ends_with_its_block(outside):
    torch.use_deterministic_algorithms(outside)
    try:
        with deterministic_algorithms(True):
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled() == outside
        with deterministic_algorithms(False):
            assert torch.are_deterministic_algorithms_enabled() == outside
    finally:
        torch.use_deterministic_algorithms(False)
