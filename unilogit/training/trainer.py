"""Unlearning as a transformers.Trainer: forget and retain records side by side in every step.

Knows models, losses and when to stop. Knows nothing of files of requests, gates or registries, and sees
no evaluation-only data (paraphrases, wrong answers, the retain model).
"""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence, Sized
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler, Subset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.adapters import merge, unwrapped
from unilogit.errors import InputError
from unilogit.model import context_length
from unilogit.training.arguments import deterministic_algorithms, training_arguments
from unilogit.training.checkpoints import MarkWhole, SaveByTime, identity_of, last_whole_checkpoint, state_of
from unilogit.training.config import UnlearnConfig
from unilogit.training.dual_ascent import DualAscent
from unilogit.training.examples import Row, collate_paired
from unilogit.training.micro_batches import find_accumulation
from unilogit.training.precision import OwnDtypes, computes_in_bf16
from unilogit.training.progress import show_progress
from unilogit.training.reference import MeasureReference, put_beside
from unilogit.training.setup import build_examples, build_loss, build_trained_model, empty_model, methods_of
from unilogit.training.smoothing import Batch, SmoothedSteps
from unilogit.training.start import StartingWeights
from unilogit.training.stopping import Monitor, Pair, forgotten_and_recovered, stop_rule
from unilogit.training.watch import watch
from unilogit.wrappers import run_as_forward, weights_are_shared_out

if TYPE_CHECKING:
    from peft import PeftModel

log = logging.getLogger(__name__)

TERMS = ("forget_loss", "retain_loss")


class UnlearningTrainer(SmoothedSteps):
    """Unlearn `forget` while training on `retain`.

    The loss is the method's mean over the forget items of a step + retain_weight × the retain term's mean over
    its retain items, whatever the number of micro-batches and processes that the step is shared among. An item
    is an answer token or an example, as the method has it. With `pause_forgotten`, answers that are no likelier
    than unseen people's count 0 in the forget term for as long as that holds.

    Weights are held in float32 while they are trained, whatever the checkpoint's dtype and `bf16`; afterwards in
    the checkpoint's own. With `lora_rank` that is so of the adapters, and all else stays in its dtype.

    Args:
        model: any causal language model of transformers, trained in place; or a PEFT model around one with a LoRA
            adapter (`load_adapted`), which is then trained further, alone.
        tokenizer: its tokenizer.
        forget, retain: (prompt, response) pairs.
        config: what to do.
        output_dir: where checkpoints go; a later call with the same folder resumes from the last whole one. None
            keeps none.
        monitor: pairs to watch, for the early stop and for what is not pressed on; see `stop_rule`.
        seed: of the order of examples, of dropout, of adapters and of "I don't know" answers.
        max_length: tokens of prompt and response together, the model's context where that is less or this is None;
            longer responses are trained on in windows.
        neighbours: pairs to retain that resemble the forgotten; config.neighbour_share is their share.
        alternatives: a better answer to each forget prompt, in the same order; what `dpo` prefers.
        targets: of each forget pair, as `Targets.log_target` has it, float32 of shape [2, tokens]; empty for 1/V.
        merges: new adapters are merged in the end; an adapter that the model came with never is.
        start: weights to go on from, as `StartingWeights` has them; `model` is still what is compared with.

    Attributes:
        stop_rule: when this run stops and what it presses on, as a sentence.
        examples: all epochs, in order.

    Raises:
        InputError: the configuration does not fit the model, the data or the processes, or holds a knob that
            would do nothing.
    """

    loss_is_scaled_for_ga = True
    model: nn.Module

    def __init__(
        self,
        *,
        model: "PreTrainedModel | PeftModel",
        tokenizer: PreTrainedTokenizerBase,
        forget: Sequence[Pair],
        retain: Sequence[Pair],
        config: UnlearnConfig,
        output_dir: Path | str | None = None,
        monitor: Monitor | None = None,
        seed: int = 0,
        max_length: int | None = None,
        neighbours: Sequence[Pair] = (),
        alternatives: Sequence[str] = (),
        targets: Sequence[np.ndarray] = (),
        merges: bool = True,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        base = unwrapped(model)
        if base is not model and weights_are_shared_out():
            raise InputError(
                "processes cannot share the weights of an adapter with its base (FSDP); set unlearn.sharding to none"
            )
        monitor, max_length = monitor or Monitor(), context_length(base, max_length)
        self.config, self.tokenizer, self._merges = config, tokenizer, merges and base is model
        self.retain_weight = config.retain_weight
        self.deterministic = not torch.cuda.is_available() if config.deterministic is None else config.deterministic
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA is first used
        self.examples = build_examples(
            tokenizer,
            config,
            forget=forget,
            retain=retain,
            neighbours=neighbours,
            alternatives=alternatives,
            targets=targets,
            seed=seed,
            max_length=max_length,
        )
        methods = methods_of(config)
        self.radius = getattr(config, methods[0].section).radius if methods[0].smooths else None
        self.stop_rule = stop_rule(monitor, config, len(self.examples) // config.batch_size, len(targets) > 0)
        # A small forget set is passed over more often, but not measured more often.
        met = config.passes(len(self.examples.forget)) * len(self.examples.forget)
        epoch_steps = max(1, round(met / config.epochs / config.batch_size))
        self.own_dtypes, use_cache = OwnDtypes(base), getattr(base.config, "use_cache", True)
        self._rebuild = partial(empty_model, type(base), base.config, config)
        self._temporary = TemporaryDirectory() if output_dir is None else None
        self.keeps_checkpoints = output_dir is not None
        arguments = training_arguments(
            config,
            str(output_dir) if self._temporary is None else self._temporary.name,
            epoch_steps=epoch_steps,
            seed=seed,
            bf16=computes_in_bf16(config.bf16, self.own_dtypes),
            leaves_weights_out=any("hidden" in method.needs for method in methods),  # RMU: the upper layers
            find_accumulation=partial(find_accumulation, model, config, self.examples, start is not None),
        )
        self.start = None if start is None else StartingWeights(base, start)
        trained, reference = build_trained_model(model, config, seed, starts_apart=start is not None)
        self.unlearning_loss = build_loss(config, trained, reference)
        self.pieces: dict[str, list[Tensor]] = {name: [] for name, _ in zip(TERMS, methods, strict=False)}
        self._steps_since_log = 0
        super().__init__(
            model=trained,
            args=arguments,
            train_dataset=self.examples,
            data_collator=partial(collate_paired, pad_token_id=tokenizer.pad_token_id),
        )
        base.config.use_cache = use_cache  # Trainer has set it to its own argument, to be saved with the model
        if reference is not None and reference is not trained:
            put_beside(self, reference)
        self.model_accepts_loss_kwargs = True  # how earlier versions learn that the loss is scaled
        show_progress(self, f"unlearn ({config.method})")
        if any(method.needs_reference_log_p for method in methods):
            self.add_callback(MeasureReference(self))
        if methods[0].limits_retain:
            self.add_callback(DualAscent(self, config.pdu.retain_limit, config.pdu.dual_rate, config.pdu.warmup))
        watch(self, monitor, forget, targets, epoch_steps, max_length)
        if self.start is not None:
            self.add_callback(self.start)  # after all that measures the model before
        self._identity = identity_of(config, seed, self.examples, None if self.start is None else self.start.digest)
        if self.keeps_checkpoints:
            self.add_callback(SaveByTime(self, epoch_steps))
        self.add_callback(MarkWhole(self, self._identity))

    def run(self) -> list[dict[str, float]]:
        """Train, resuming from the last whole checkpoint if there is one.

        `self.model` is the outcome: the model that was given, trained in place, with adapters merged or around it,
        except where its weights were sharded (FSDP): then the first process has a new one, on the CPU, and the others
        an empty module.

        Returns:
            The history: a dict for each logged step.

        Raises:
            InputError: the checkpoints are of another run, or the loss is not a number any more.
        """
        log.info("stop rule: %s", self.stop_rule)
        folder = Path(self.args.output_dir or ".")
        checkpoint = last_whole_checkpoint(folder, self._identity) if self.keeps_checkpoints else None
        if checkpoint is not None:
            done = state_of(checkpoint)
            if self.start is not None:
                self.start.put()  # below adapters; all else is in the checkpoint
            if not self.examples.has_targets and forgotten_and_recovered(done.log_history, self.config):
                # It was to stop here, and was killed before it could say so: nothing more to train on.
                self.train_dataset = Subset(self.examples, range(done.global_step * self.config.batch_size))
        with deterministic_algorithms(self.deterministic):
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        self.model = self._finish()
        if self._temporary is not None:
            self._temporary.cleanup()
        return self.state.log_history

    @property
    def epochs_done(self) -> float:
        """How often each forget example has been met, in the mean."""
        met = min(self.state.global_step * self.config.batch_size, len(self.examples.forget_order))
        return met / len(self.examples.forget)

    def _finish(self) -> nn.Module:
        """The trained model as `run` describes it."""
        model: PreTrainedModel | PeftModel
        if self.is_fsdp_enabled:
            state = self.accelerator.get_state_dict(self.model)
            if not self.is_world_process_zero():
                return nn.Module()
            model = self._rebuild()
            model.load_state_dict(state, assign=True)
            model.tie_weights()
        else:
            model = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            vars(model).pop("forward", None)  # what is left of the wrapper
        if not isinstance(model, PreTrainedModel):
            if not self._merges:
                return model
            model = merge(model)
        self.own_dtypes.restore(model)
        return model

    def _get_train_sampler(self, train_dataset: Dataset[list[Row]] | None = None) -> SequentialSampler:
        examples = self.train_dataset if train_dataset is None else train_dataset
        assert isinstance(examples, Sized)
        return SequentialSampler(examples)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor | None]:
        """A step's micro-batches and, for `compute_loss`, how many items each term has in all of them."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._steps_since_log += 1
        return batches, self._count(batches, device) if batches else None

    def _count(self, batches: Sequence[Batch], device: torch.device) -> Tensor:
        counts = [self.unlearning_loss.count(batch["labels"], batch["role"]) for batch in batches]
        return self._over_processes(torch.stack(counts).sum(dim=0).to(device))

    def _over_processes(self, part: Tensor) -> Tensor:
        total: Tensor = self.accelerator.reduce(part, "sum") if self.args.world_size > 1 else part
        return total

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The loss of a micro-batch, such that the sum over micro-batches and mean over processes is the step's.

        Args:
            num_items_in_batch: of each term, over the whole step; by default `inputs` are the step.
        """
        counts = num_items_in_batch
        if not isinstance(counts, Tensor):
            counts = self._count([inputs], inputs["labels"].device)
        # Before the loss, so that the one-pass kernel weighs tokens with it. Gradients are averaged over
        # processes, and `counts` is of all.
        weights = (1.0, self.retain_weight)
        scale = [weight * self.args.world_size / count for weight, count in zip(weights, counts.tolist(), strict=False)]
        # Not as an argument of the model: FSDP would cast it.
        numbers = {name: tensor for name, tensor in inputs.items() if tensor.is_floating_point()}
        loss_of = partial(self.unlearning_loss, scale=scale, **numbers)
        tokens = {name: tensor for name, tensor in inputs.items() if name not in numbers}
        with self.accelerator.autocast():
            loss, sums = run_as_forward(model, loss_of, **tokens)
        for name, total, count in zip(self.pieces, sums, counts, strict=True):
            self.pieces[name].append(total / count.to(total.dtype))
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's, with the mean of each term since the last time beside `loss`.

        Raises:
            InputError: the loss is not a number.
        """
        if "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise InputError(
                    f"the loss is {logs['loss']} by step {self.state.global_step}, so the weights are of no use; lower"
                    f" {'' if self.radius is None else 'unlearn.npo_sam.radius or '}unlearn.learning_rate"
                )
            for name, values in self.pieces.items():
                if values:
                    logs[name] = self._over_processes(torch.stack(values).sum() / self._steps_since_log).item()
                    values.clear()
            self._steps_since_log = 0
        super().log(logs, start_time)
