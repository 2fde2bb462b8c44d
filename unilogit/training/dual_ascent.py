"""The weight of the retain term as the multiplier of a limit on it: it grows while the limit is broken.

Knows no loss. Its state is in every checkpoint.
"""

from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

if TYPE_CHECKING:
    from unilogit.training.trainer import UnlearningTrainer


class DualAscent(TrainerCallback, ExportableState):
    """After each step, weight ← max(0, weight + rate · (retain term − limit)), as in PDU (arXiv 2506.05314).

    Args:
        trainer: whose `retain_weight` it steers; that begins with the configuration's.
        limit: of the retain term's mean over a step, in its unit.
        rate: how fast the weight follows.
        warmup: share of the steps before it does.
    """

    def __init__(self, trainer: "UnlearningTrainer", limit: float, rate: float, warmup: float) -> None:
        self.trainer, self.limit, self.rate, self.warmup = trainer, limit, rate, warmup

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"weight": self.trainer.retain_weight}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        callbacks: Any = state.stateful_callbacks  # by their names: as they were made, or as a checkpoint has them
        saved = callbacks[type(self).__name__]
        self.trainer.retain_weight = saved["attributes"]["weight"]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step <= self.warmup * state.max_steps:
            return
        parts = self.trainer.pieces["retain_loss"][-args.gradient_accumulation_steps :]
        retain_loss = self.trainer.accelerator.reduce(torch.stack(parts).sum(), "sum").item()
        self.trainer.retain_weight = max(0.0, self.trainer.retain_weight + self.rate * (retain_loss - self.limit))
