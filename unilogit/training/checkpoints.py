"""What a killed run goes on from: the last checkpoint that was written to its end, if it is of the same run.

Knows the folders that Trainer writes, not what is in them.
"""

import hashlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unilogit.errors import InputError
from unilogit.files import read_json, sha256_json, write_json
from unilogit.training.config import UnlearnConfig
from unilogit.training.examples import PairedExamples

if TYPE_CHECKING:
    from unilogit.training.trainer import UnlearningTrainer

MARK = "whole.json"
STATE = "trainer_state.json"  # Trainer's name
# How a step is worked through; what it comes to is the same.
MEANS = {
    "accumulation",
    "checkpoint_minutes",
    "bf16",
    "gradient_checkpointing",
    "compile",
    "deterministic",
    "processes",
    "sharding",
    "unmoved",
}


def identity_of(config: UnlearnConfig, seed: int, examples: PairedExamples, start: str | None) -> str:
    """A digest that two runs share if one can go on from the other's checkpoints.

    Args:
        start: digest of the weights that it began with, where those are not the model's.
    """
    digest = hashlib.sha256()
    for encoded in (examples.forget, examples.preferred, examples.retain, *examples.splices):
        for example in encoded:
            digest.update(np.array([example.answer_start, *example.ids, -1]).tobytes())
    for targets in examples.log_target:
        digest.update(targets.tobytes())
    return sha256_json([config.model_dump(mode="json", exclude=MEANS), seed, digest.hexdigest(), start])


class SaveByTime(TrainerCallback):
    """Save a checkpoint where the run was measured, once the time between two has passed.

    Args:
        trainer: whose checkpoints they are.
        epoch_steps: from one measurement to the next.
    """

    def __init__(self, trainer: "UnlearningTrainer", epoch_steps: int) -> None:
        self.seconds, self.epoch_steps = 60 * trainer.config.checkpoint_minutes, epoch_steps
        self.saved = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step % self.epoch_steps == 0 or state.global_step >= state.max_steps:
            decision = [time.monotonic() - self.saved >= self.seconds]
            if args.world_size > 1:
                broadcast_object_list(decision)  # all write a part of it, so all have to go by one clock
            if decision[0]:
                control.should_save, self.saved = True, time.monotonic()


class MarkWhole(TrainerCallback):
    """Mark a checkpoint once every process has written its part; Trainer's files come in no order to rely on.

    Args:
        trainer: whose checkpoints they are.
        identity: of the run.
    """

    def __init__(self, trainer: "UnlearningTrainer", identity: str) -> None:
        self.trainer, self.identity = trainer, identity

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        self.trainer.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            folder = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
            write_json(folder / MARK, {"schema_version": 1, "run": self.identity})


def last_whole_checkpoint(folder: Path, identity: str) -> Path | None:
    """The newest checkpoint that was written to its end; newer ones, which a kill broke, are removed.

    Raises:
        InputError: it is of another run.
    """
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        if (path / MARK).is_file():
            if read_json(path / MARK)["run"] != identity:
                raise InputError(
                    f"{path}: is of a run with another configuration, seed or records; remove {folder}, or name another"
                )
            return path
        shutil.rmtree(path, ignore_errors=True)
    return None


def state_of(checkpoint: Path) -> TrainerState:
    """Step and history at the time of a checkpoint."""
    return TrainerState.load_from_json(str(checkpoint / STATE))
