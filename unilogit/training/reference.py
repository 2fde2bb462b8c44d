"""The model before unlearning, for the losses that compare with it, in as little memory as each of them allows.

- log p of given answers is measured once, before the first step, and kept as numbers.
- New adapters have the model before unlearning inside them: it is the model without them, unless the run goes on from
  other weights.
- Otherwise it is a copy in the checkpoint's own dtype that shares what is not trained; of an adapter that is trained
  further, a copy of the adapter alone.
"""

import copy
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from accelerate.utils import gather_object
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unilogit.data.tokenisation import IGNORED, Encoded, collate
from unilogit.errors import InputError
from unilogit.evaluation.batching import fixed_batches
from unilogit.evaluation.token_scores import inference
from unilogit.files import atomic_path
from unilogit.model import Scorer
from unilogit.training.precision import HALF
from unilogit.wrappers import has_weights, run_as_forward

if TYPE_CHECKING:
    from unilogit.training.trainer import UnlearningTrainer

FILE = "reference.safetensors"
SCORED_TOKENS = 2048  # at once; always the same, for the same bits whatever memory there is

Copied = TypeVar("Copied", bound=nn.Module)


def frozen_copy(model: Copied, widened: Collection[torch.dtype] = HALF) -> Copied:
    """The model as it is now, for inference; shares the tensors that training will neither change nor widen.

    A process that has room for parameters alone (FSDP) has as much room again, untouched: it costs no memory.

    Args:
        widened: dtypes of tensors that training will hold in another one.
    """
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    copies = {id(tensor): tensor for tensor in tensors if not tensor.requires_grad and tensor.dtype not in widened}
    if not has_weights():
        copies |= {id(parameter): nn.Parameter(torch.empty_like(parameter)) for parameter in model.parameters()}
    return copy.deepcopy(model, copies).eval().requires_grad_(False)


def put_beside(trainer: "UnlearningTrainer", reference: nn.Module) -> None:
    """Put it where the trained model is: on this process's device, or shared out as weights are (FSDP)."""
    if trainer.is_fsdp_enabled:
        fsdp2_prepare_model(trainer.accelerator, reference)
    else:
        reference.to(trainer.args.device)


class MeasureReference(TrainerCallback):
    """Measure what the model says of the answers to forget, and of better ones, before the first step.

    The numbers lie beside the checkpoints, as a resumed run has other weights by then.
    """

    def __init__(self, trainer: "UnlearningTrainer") -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        file, examples = Path(args.output_dir or ".") / FILE, self.trainer.examples
        if state.global_step == 0:
            examples.reference_log_p = self._measure([*examples.forget, *examples.preferred])
            if state.is_world_process_zero and self.trainer.keeps_checkpoints:
                _write(file, examples.reference_log_p)
        elif not file.is_file():
            raise InputError(f"{file}: is missing beside its checkpoints; remove {file.parent} and start again")
        else:
            examples.reference_log_p = _read(file)

    def _measure(self, examples: Sequence[Encoded]) -> list[np.ndarray]:
        """log p of each answer token of each example, float32; processes share the work."""
        accelerator = self.trainer.accelerator
        batches = list(fixed_batches([len(example.ids) for example in examples], SCORED_TOKENS))
        measured: list[tuple[int, np.ndarray]] = []
        # As many forward passes in each process, as sharded weights need.
        for first in range(0, len(batches), accelerator.num_processes):
            batch = batches[min(first + accelerator.process_index, len(batches) - 1)]
            measured += zip(batch, self._log_p([examples[position] for position in batch]), strict=True)
        by_position: dict[int, np.ndarray] = dict(gather_object(measured))
        return [by_position[position] for position in range(len(examples))]

    def _log_p(self, examples: Sequence[Encoded]) -> list[np.ndarray]:
        trainer, scorer = self.trainer, self.trainer.unlearning_loss.scorer
        tensors = collate(examples, trainer.tokenizer.pad_token_id)
        inputs = {name: tensor.to(trainer.args.device) for name, tensor in tensors.items()}
        with inference(trainer.model), trainer.accelerator.autocast():
            log_p = run_as_forward(trainer.model, partial(_target_log_p, scorer), **inputs)
        ends = np.cumsum([len(example.ids) - example.answer_start for example in examples])[:-1]
        return np.split(log_p.float().cpu().numpy(), ends)


def _target_log_p(scorer: Scorer, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
    """log p of each answer token of a batch, in order: [N]."""
    answered = labels[:, 1:] != IGNORED
    rows, targets = scorer.features(input_ids, attention_mask).rows[:, :-1][answered], labels[:, 1:][answered]
    return scorer.within_head(scorer.score_targets, rows, targets).log_p


def _write(file: Path, log_p: Sequence[np.ndarray]) -> None:
    lengths = np.array([len(values) for values in log_p])
    with atomic_path(file) as temporary:
        save_file({"log_p": np.concatenate(log_p), "lengths": lengths}, temporary)


def _read(file: Path) -> list[np.ndarray]:
    arrays = load_file(file)
    return np.split(arrays["log_p"], np.cumsum(arrays["lengths"])[:-1])
