"""What transformers' Trainer is told, from what an unlearning run is told. Knows no data and no model's weights."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainingArguments

from unilogit.errors import InputError
from unilogit.training.config import UnlearnConfig
from unilogit.training.rate_search import LOWEST
from unilogit.wrappers import weights_are_shared_out


def training_arguments(
    config: UnlearnConfig,
    folder: str,
    *,
    epoch_steps: int,
    seed: int,
    bf16: bool,
    leaves_weights_out: bool,
    find_accumulation: Callable[[TrainingArguments], int],
) -> TrainingArguments:
    """Arguments for a dataset that holds all epochs, in order.

    Args:
        folder: for checkpoints.
        epoch_steps: steps from one measurement to the next.
        bf16: whether to compute in bfloat16.
        leaves_weights_out: whether a step may leave trained weights without a gradient.
        find_accumulation: the parts that a process takes its share of a step in, where config leaves that to memory.

    Raises:
        InputError: the configuration does not fit the processes.
    """
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=1,
        learning_rate=LOWEST if config.learning_rate == "auto" else config.learning_rate,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch",
        **_checkpointing(config.gradient_checkpointing),
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=leaves_weights_out,
        logging_steps=max(1, epoch_steps // 4),
        logging_nan_inf_filter=False,
        save_strategy="no",  # but when `SaveByTime` says so
        save_total_limit=2,
        seed=seed,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    use_one_device(arguments)
    share = _share_of_a_process(config, arguments.world_size)
    parts = find_accumulation(arguments) if config.accumulation == "auto" else config.accumulation
    arguments.gradient_accumulation_steps, arguments.per_device_train_batch_size = parts, share // parts
    _check_processes(config, arguments)
    return arguments


def use_one_device(arguments: TrainingArguments) -> None:
    """Several GPUs want a process each: never DataParallel, which would multiply the batch size as well."""
    arguments._n_gpu = min(1, arguments.n_gpu)


def _checkpointing(enabled: bool) -> dict[str, Any]:
    """What TrainingArguments call it; transformers gave it another name in the course of version 5."""
    fields = TrainingArguments.__dataclass_fields__
    name = "activation_checkpointing" if "activation_checkpointing" in fields else "gradient_checkpointing"
    return {name: enabled, f"{name}_kwargs": {"use_reentrant": False}}


def _share_of_a_process(config: UnlearnConfig, processes: int) -> int:
    """Forget examples of a step that one process takes."""
    parts = 1 if config.accumulation == "auto" else config.accumulation
    if config.batch_size % (parts * processes):
        raise InputError(
            f"unlearn.batch_size is {config.batch_size}, which {processes} processes with unlearn.accumulation "
            f"{config.accumulation} cannot share; make it a multiple of {parts * processes}"
        )
    return config.batch_size // processes


def _check_processes(config: UnlearnConfig, arguments: TrainingArguments) -> None:
    if config.processes not in ("auto", arguments.world_size):
        raise InputError(
            f"unlearn.processes is {config.processes}, but {arguments.world_size} run; "
            f"start as many with `torchrun --nproc-per-node {config.processes}`, or set it to auto"
        )
    is_sharded = weights_are_shared_out()
    if config.sharding not in ("auto", "fsdp" if is_sharded else "none"):
        raise InputError(
            f"unlearn.sharding is {config.sharding}, but the processes were started "
            f"{'with' if is_sharded else 'without'} FSDP; start them the other way, or set it to auto"
        )
    if is_sharded and os.environ.get("FSDP_VERSION") != "2":
        raise InputError(
            "the processes were started with FSDP 1; set FSDP_VERSION=2 (`accelerate launch --fsdp_version 2`)"
        )


@contextmanager
def deterministic_algorithms(enabled: bool) -> Iterator[None]:
    """Within, the same inputs give the same bits on one machine; operations that cannot raise."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(enabled or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
