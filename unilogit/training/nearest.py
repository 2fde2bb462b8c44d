"""Which weights a run ends with: the last, unless those of an earlier epoch were nearer to what unlearning aims at.

How near is measured after each epoch on records that are trained on and on unseen people (stopping.py): never on what
the outcome is judged by.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unilogit.training.config import UnlearnConfig
from unilogit.training.stopping import History, Monitor, Pair, drift, forgotten_and_recovered

if TYPE_CHECKING:
    from unilogit.training.trainer import UnlearningTrainer

CHANCE = 0.1  # nats: what a sample of records may say by chance, and no reason to go back
KEPT = "kept_step"  # what is logged: after which step the weights were as they are kept


class Measured(NamedTuple):
    """How far the weights after a step are from what unlearning aims at, in nats."""

    step: int
    distance: float


def aims_of(monitor: Monitor, forget: Sequence[Pair], targets: Sequence[np.ndarray]) -> dict[str, float]:
    """Mean NLL that watched answers are driven to, by `distances`' names; none where they have no targets of their own.

    Args:
        monitor: what is watched, of `forget`.
        forget, targets: as of the trainer.
    """
    by_pair = {pair: -float(rows[0].mean()) for pair, rows in zip(forget, targets, strict=False) if rows.size}
    watched = {"forget": monitor.forget, "earlier": monitor.earlier}
    aims = {name: [by_pair[pair] for pair in pairs if pair in by_pair] for name, pairs in watched.items()}
    return {name: float(np.mean(values)) for name, values in aims.items() if values}


def distances(history: History, aims: Mapping[str, float]) -> list[Measured]:
    """Of each measurement but the first, which is of the model before unlearning.

    A distance is |mean NLL of forget answers − their aim| + the same of earlier batches' + what retained answers lost
    of their log-probability.

    Args:
        history: what was logged, as `StopWhenForgotten` does.
        aims: mean NLL that the answers of `forget` and `earlier` were driven to at first, as those of others are to
            unseen people's; they drift as the targets do.

    Returns:
        None of measurements without an aim.
    """
    measured = [entry for entry in history if "forget_nll" in entry or "earlier_nll" in entry]
    told = []
    for entry in measured[1:]:
        gaps = []
        for name in ("forget", "earlier"):
            aim = aims[name] * drift([measured[0], entry]) if name in aims else entry.get("unseen_nll")
            if aim is not None and f"{name}_nll" in entry:
                gaps.append(abs(entry[f"{name}_nll"] - aim))
        if gaps:
            distance = sum(gaps) + _lost(measured[0], entry)
            told.append(Measured(int(entry["step"]), math.inf if math.isnan(distance) else distance))
    return told


def _lost(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    was, is_now = before.get("retain_probability", 0.0), now.get("retain_probability", 0.0)
    if is_now >= was:
        return 0.0
    return math.log(was / is_now) if is_now else math.inf


def nearest(measured: Sequence[Measured]) -> Measured:
    """The one of least distance; of equals the last."""
    return min(reversed(measured), key=lambda measurement: measurement.distance)


class KeepNearest(TrainerCallback):
    """Copies what is trained whenever an epoch has come nearer than any before; puts it back if the end is further.

    A copy is in the machine's memory, and in a checkpoint that was written after a later epoch.

    Args:
        trainer: whose weights they are.
        aims: as of `distances`.
    """

    def __init__(self, trainer: "UnlearningTrainer", aims: Mapping[str, float]) -> None:
        self.trainer, self.aims = trainer, aims
        self.step, self.copy = 0, dict[str, Tensor]()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if measured := distances(state.log_history, self.aims):
            self.step = nearest(measured).step
            file = self._file(args, state)
            self.copy = load_file(file) if self.step < state.global_step else self._copied()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        measured = distances(state.log_history, self.aims)
        is_new = bool(measured) and nearest(measured).step == state.global_step
        if is_new and self.step < state.global_step:
            self.step, self.copy = state.global_step, self._copied()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        if 0 < self.step < state.global_step:
            save_file(self.copy, self._file(args, state))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        kept = kept_step(state.log_history, self.aims, self.trainer.config, self.trainer.examples.has_targets)
        if kept is not None and kept < state.global_step:
            with torch.no_grad():
                for name, weight in self._trained().items():
                    weight.copy_(self.copy[name])
            self.trainer.log({KEPT: float(kept)})
        self.copy = {}

    def _trained(self) -> dict[str, Tensor]:
        """This process's part of each weight."""
        for module in self.trainer.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # measuring, a forward pass alone, leaves some gathered
        named = self.trainer.model.named_parameters()
        trained = {name: weight.detach() for name, weight in named if weight.requires_grad}
        return {name: weight.to_local() if isinstance(weight, DTensor) else weight for name, weight in trained.items()}

    def _copied(self) -> dict[str, Tensor]:
        return {name: weight.to("cpu", copy=True).contiguous() for name, weight in self._trained().items()}

    def _file(self, args: TrainingArguments, state: TrainerState) -> Path:
        folder = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
        return folder / f"nearest-{args.process_index}.safetensors"


def kept_step(history: History, aims: Mapping[str, float], config: UnlearnConfig, has_targets: bool) -> int | None:
    """After which step the weights were as a run of this history keeps them; None where nothing says how near any are.

    Args:
        history, aims: as of `distances`; of a run that is over.
        has_targets: tokens have targets of their own.
    """
    measured = distances(history, aims)
    if not measured:
        return None
    last, best = measured[-1], nearest(measured)
    has_arrived = not has_targets and forgotten_and_recovered(history, config)
    return last.step if has_arrived or last.distance <= best.distance + CHANCE else best.step
