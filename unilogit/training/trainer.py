"""Unlearning as a transformers.Trainer: forget and retain records side by side in every step.

Knows models, losses and when to stop. Knows nothing of files of requests, gates or registries, and sees
no evaluation-only data (paraphrases, wrong answers, the retain model).
"""

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from unilogit.data.tokenisation import encode_pair
from unilogit.errors import InputError
from unilogit.losses.registry import METHODS, RETAIN_TERMS
from unilogit.params import Unlearn
from unilogit.scorer import Scorer, stands_in
from unilogit.training.examples import PairedExamples, collate_paired
from unilogit.training.idk_answers import draw_idk_answers
from unilogit.training.lora import add_lora, without_adapter
from unilogit.training.progress import show_progress
from unilogit.training.stopping import Monitor, Pair, StopWhenForgotten
from unilogit.training.unlearning_loss import Term, UnlearningLoss

TERMS = ("forget_loss", "retain_loss")


class UnlearningTrainer(Trainer):
    """Unlearn `forget` while training on `retain`.

    Args:
        model: any causal language model of transformers; trained in place.
        tokenizer: its tokenizer.
        forget, retain: (prompt, response) pairs.
        settings: the `unlearn` section of params.yaml.
        output_dir: where checkpoints go; a later call with the same folder resumes from the last whole one.
        monitor: pairs to watch for the early stop.
        seed: of the order of examples, of dropout, of adapters and of what a method draws.
        max_length: tokens of prompt and response together; longer pairs are an InputError.
        neighbours: pairs to retain that resemble the forgotten; see unlearn.neighbour_share.
        alternatives: a better answer to each forget prompt, in the same order; what `dpo` prefers.

    The loss is the method's mean over the forget items of a step + retain_weight × the retain term's mean over
    its retain items, whatever the number of micro-batches and processes that the step is shared among. An item
    is an answer token or an example, as the method has it. With `pause_forgotten`, answers that are no likelier
    than unseen people's count 0 in the forget term for as long as that holds.

    Raises:
        InputError: the settings do not fit the model, the data or the number of processes.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        forget: Sequence[Pair],
        retain: Sequence[Pair],
        settings: Unlearn,
        output_dir: Path | str,
        monitor: Monitor | None = None,
        seed: int = 0,
        max_length: int | None = None,
        neighbours: Sequence[Pair] = (),
        alternatives: Sequence[str] = (),
    ) -> None:
        self.deterministic = not torch.cuda.is_available() if settings.deterministic is None else settings.deterministic
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA is first used
        method = METHODS[settings.method]
        retain_term = method.retain_term if settings.retain_term == "published" else settings.retain_term
        retains = bool(
            retain_term != "none" and settings.retain_weight and settings.retain_per_forget and (retain or neighbours)
        )
        terms = [method, RETAIN_TERMS[retain_term]] if retains else [method]
        needs = {need for term in terms for need in term.needs}
        self.retain_weight = settings.retain_weight

        def encode(pairs: Sequence[Pair]) -> list[tuple[list[int], int]]:
            return [encode_pair(tokenizer, *pair, max_length=max_length) for pair in pairs]

        if "idk" in needs:
            alternatives = draw_idk_answers(len(forget), seed)
        elif "alternative" in needs and len(alternatives) != len(forget):
            raise InputError(
                f"unlearn.method {settings.method} needs a better answer for each of the {len(forget)} forget records, "
                f"but there are {len(alternatives)}; add them, or use idk_dpo"
            )
        prefers = bool({"idk", "alternative"} & needs)
        examples = PairedExamples(
            encode(forget),
            encode(retain) if retains else [],
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            retain_per_forget=settings.retain_per_forget,
            seed=seed,
            neighbours=encode(neighbours) if retains else [],
            neighbour_share=settings.neighbour_share,
            preferred=encode([(prompt, better) for (prompt, _), better in zip(forget, alternatives, strict=True)])
            if prefers
            else [],
        )
        self.own_types: dict[str, torch.dtype] = {}
        self.rebuild = partial(type(model), model.config)
        reference: Any = None
        if settings.lora_rank is not None:
            self.rebuild = partial(_with_lora, self.rebuild, settings.lora_rank, seed)
            model = reference = add_lora(model, settings.lora_rank, seed)
        else:
            if "reference" in needs:
                reference = copy.deepcopy(model).eval().requires_grad_(False)
            if settings.bf16:
                self.own_types = {name: parameter.dtype for name, parameter in model.named_parameters()}
                model.float()  # updates smaller than bfloat16 can hold would be lost
        scorer = Scorer(model)
        if "hidden" in needs and settings.rmu.layer >= scorer.layers:
            raise InputError(
                f"unlearn.rmu.layer is {settings.rmu.layer}, but the model's layers are 0 to {scorer.layers - 1}"
            )
        if settings.compile:
            scorer.body.compile(dynamic=True)
        facts = {"vocabulary": scorer.vocabulary, "seed": seed}
        bound = [Term(term, term.load(settings.model_dump(), **facts)) for term in terms]
        self.unlearning_loss = UnlearningLoss(
            scorer,
            forget=bound[0],
            retain=bound[1] if retains else None,
            reference=Scorer(reference) if "reference" in needs else None,
            as_reference=partial(without_adapter, model) if settings.lora_rank is not None else nullcontext,
            layer=settings.rmu.layer,
        )
        self.pieces: dict[str, list[Tensor]] = {name: [] for name in TERMS[: len(terms)]}
        self.steps_since_log = 0
        epoch_steps = max(1, round(len(forget) / settings.batch_size))
        arguments = TrainingArguments(
            output_dir=str(output_dir),
            num_train_epochs=1,  # the dataset holds all epochs, in order
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            weight_decay=0.0,
            max_grad_norm=1.0,
            optim="adamw_torch",
            gradient_accumulation_steps=settings.accumulation,
            **_checkpointing(settings.gradient_checkpointing),
            bf16=settings.bf16,
            use_cpu=not torch.cuda.is_available(),
            ddp_find_unused_parameters="hidden" in needs,  # RMU leaves the upper layers out
            logging_steps=max(1, epoch_steps // 4),
            save_strategy="steps",
            save_steps=epoch_steps,
            save_total_limit=2,
            seed=seed,
            remove_unused_columns=False,
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
        )
        arguments.per_device_train_batch_size = _micro_batch_size(settings, arguments.world_size)
        arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs want a process each, not DataParallel
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=examples,
            data_collator=lambda batch: collate_paired(batch, tokenizer.pad_token_id),
            processing_class=tokenizer,
        )
        if "reference" in needs:
            reference.to(self.args.device)
        self.model_accepts_loss_kwargs = True  # how earlier versions learn that the loss is scaled
        show_progress(self, f"unlearn ({settings.method})")
        if monitor is not None:
            self.add_callback(StopWhenForgotten(self, monitor, tokenizer, epoch_steps, settings))

    def run(self) -> list[dict[str, float]]:
        """Train, resuming from the last whole checkpoint if there is one.

        `self.model` is the outcome, adapters merged: the model that was given, trained in place, except where its
        weights were sharded (FSDP): then the first process has a new one, on the CPU, and the others an empty module.

        Returns:
            The history: a dict for each logged step.
        """
        checkpoint = last_whole_checkpoint(Path(self.args.output_dir or "."))
        with deterministic_algorithms(self.deterministic):
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        model: Any = self._gather() if self.is_fsdp_enabled else self.model
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload()
        for name, parameter in model.named_parameters():
            parameter.data = parameter.data.to(self.own_types.get(name, parameter.dtype))
        self.model = model
        return self.state.log_history

    def _gather(self) -> Any:
        state = self.accelerator.get_state_dict(self.model)
        if not self.is_world_process_zero():
            return torch.nn.Module()
        model = self.rebuild()
        model.to(next(iter(state.values())).dtype).load_state_dict(state)
        return model

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        examples: Any = train_dataset or self.train_dataset
        return SequentialSampler(examples)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """A step's micro-batches and, for `compute_loss`, how many items each term has in all of them."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.steps_since_log += 1
        return batches, self._count(batches, device) if batches else None

    def _count(self, batches: Sequence[dict[str, Tensor]], device: Any) -> Tensor:
        counts = [self.unlearning_loss.count(batch["labels"], batch["role"]) for batch in batches]
        total = torch.stack(counts).sum(dim=0).to(device)
        return self.accelerator.reduce(total, "sum") if self.args.world_size > 1 else total

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        counts = self._count([inputs], inputs["labels"].device) if num_items_in_batch is None else num_items_in_batch
        # Before the loss, so that the one-pass kernel weighs tokens with it; and as numbers, which no wrapper casts.
        # Gradients are averaged over processes, and `counts` is of all.
        weights = (1.0, self.retain_weight)
        scale = [weight * self.args.world_size / count for weight, count in zip(weights, counts.tolist(), strict=False)]
        with self.accelerator.autocast(), stands_in(self.accelerator.unwrap_model(model), self.unlearning_loss):
            loss, sums = model(**inputs, scale=scale)
        for name, total, count in zip(self.pieces, sums, counts, strict=True):
            self.pieces[name].append(total / count.to(total.dtype))
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            for name, values in self.pieces.items():
                if values:
                    mean = torch.stack(values).sum() / self.steps_since_log
                    logs[name] = (self.accelerator.reduce(mean, "sum") if self.args.world_size > 1 else mean).item()
                    values.clear()
            self.steps_since_log = 0
        super().log(logs, *args, **kwargs)


def _checkpointing(on: bool) -> dict[str, Any]:
    """What TrainingArguments call it; transformers gave it another name in the course of version 5."""
    fields = TrainingArguments.__dataclass_fields__
    name = "activation_checkpointing" if "activation_checkpointing" in fields else "gradient_checkpointing"
    return {name: on, f"{name}_kwargs": {"use_reentrant": False}}


def _with_lora(rebuild: Callable[[], Any], rank: int, seed: int) -> Any:
    return add_lora(rebuild(), rank, seed)


def _micro_batch_size(settings: Unlearn, processes: int) -> int:
    """Forget examples that one process takes at once."""
    size, rest = divmod(settings.batch_size, settings.accumulation * processes)
    if rest:
        raise InputError(
            f"unlearn.batch_size is {settings.batch_size}, which {processes} processes with unlearn.accumulation "
            f"{settings.accumulation} cannot share; make it a multiple of {settings.accumulation * processes}"
        )
    return size


@contextmanager
def deterministic_algorithms(on: bool) -> Iterator[None]:
    """Within, the same inputs give the same bits on one machine; operations that cannot raise."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(on or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; broken ones are removed."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        try:
            json.loads((path / "trainer_state.json").read_text())  # the last file that Trainer writes
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
        else:
            return path
    return None
