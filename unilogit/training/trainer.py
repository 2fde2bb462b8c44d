"""Unlearning as a transformers.Trainer: forget and retain records side by side in every step.

Knows models, losses and when to stop. Knows nothing of files of requests, gates or registries, and sees
no evaluation-only data (paraphrases, wrong answers, the retain model).
"""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments

from unilogit.data.tokenisation import collate, encode_pair
from unilogit.evaluation.probability import score_answers
from unilogit.kernels.reference import TargetLogProb, target_log_prob, target_log_prob_from_logits
from unilogit.losses.registry import METHODS
from unilogit.params import Unlearn
from unilogit.training.progress import show_progress

IGNORED = -100
Pair = tuple[str, str]  # prompt, response


class PairedExamples(Dataset[list[tuple[list[int], int, bool]]]):
    """Each forget example with its retain examples, for all epochs in one fixed order.

    The order is drawn once from the seed, so a resumed run meets the same batches. Retain examples come
    from a reshuffled pass over the whole retain set, so all are met equally often.
    """

    def __init__(
        self,
        forget: Sequence[tuple[list[int], int]],
        retain: Sequence[tuple[list[int], int]],
        *,
        epochs: int,
        retain_per_forget: int,
        seed: int,
    ) -> None:
        self.forget, self.retain = forget, retain
        rng = random.Random(seed)
        self.forget_order = [index for _ in range(epochs) for index in _shuffled(len(forget), rng)]
        wanted = len(self.forget_order) * retain_per_forget if retain else 0
        self.retain_order: list[int] = []
        while len(self.retain_order) < wanted:
            self.retain_order += _shuffled(len(retain), rng)
        self.retain_per_forget = retain_per_forget if retain else 0

    def __len__(self) -> int:
        return len(self.forget_order)

    def __getitem__(self, position: int) -> list[tuple[list[int], int, bool]]:
        start = position * self.retain_per_forget
        beside = self.retain_order[start : start + self.retain_per_forget]
        forget = self.forget[self.forget_order[position]]
        return [(*forget, True), *((*self.retain[index], False) for index in beside)]


def _shuffled(count: int, rng: random.Random) -> list[int]:
    order = list(range(count))
    rng.shuffle(order)
    return order


@dataclass(frozen=True)
class Monitor:
    """What is watched after every epoch to decide what is forgotten and when to stop.

    Attributes:
        forget, earlier: pairs from the forget set, a sample of this batch's and of those of earlier batches.
        retain: pairs from the retain set, a sample.
        unseen: pairs about people never trained on: the likelihood that forgetting aims at.
    """

    forget: Sequence[Pair]
    earlier: Sequence[Pair]
    retain: Sequence[Pair]
    unseen: Sequence[Pair]


class UnlearningTrainer(Trainer):
    """Unlearn `forget` while training on `retain`.

    Args:
        model: any causal language model of transformers.
        tokenizer: its tokenizer.
        forget, retain: (prompt, response) pairs.
        settings: the `unlearn` section of params.yaml.
        output_dir: where checkpoints go; a later call with the same folder resumes from the last whole one.
        monitor: pairs to watch for the early stop.
        seed: of the order of examples and of dropout.
        max_length: tokens of prompt and response together; longer pairs are an InputError.

    The loss is the method's mean over forget answer tokens + retain_weight × the mean NLL over retain
    answer tokens. With `pause_forgotten`, answers that are no likelier than unseen people's count 0 in the forget
    term for as long as that holds.
    """

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
    ) -> None:
        method = METHODS[settings.method]
        self.retain_weight = settings.retain_weight if method.retain_term else 0.0
        self.forget_loss: Callable[[TargetLogProb], Tensor] = method.load(
            settings.model_dump(), model.get_output_embeddings().weight.shape[0]
        )
        self.pieces: dict[str, list[Tensor]] = {"forget_loss": [], "retain_loss": []}
        self.forgotten_nll = float("inf")
        examples = PairedExamples(
            [encode_pair(tokenizer, *pair, max_length=max_length) for pair in forget],
            [encode_pair(tokenizer, *pair, max_length=max_length) for pair in retain] if self.retain_weight else [],
            epochs=settings.epochs,
            retain_per_forget=settings.retain_per_forget,
            seed=seed,
        )
        epoch_steps = max(1, round(len(forget) / settings.batch_size))
        arguments = TrainingArguments(
            output_dir=str(output_dir),
            per_device_train_batch_size=settings.batch_size,
            num_train_epochs=1,  # the dataset holds all epochs, in order
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            weight_decay=0.0,
            max_grad_norm=1.0,
            optim="adamw_torch",
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
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=examples,
            data_collator=lambda batch: _collate_paired(batch, tokenizer.pad_token_id),
            processing_class=tokenizer,
        )
        self.model_accepts_loss_kwargs = False
        show_progress(self, f"unlearn ({settings.method})")
        if monitor is not None:
            self.add_callback(StopWhenForgotten(self, monitor, tokenizer, epoch_steps, settings))

    def run(self) -> list[dict[str, float]]:
        """Train, resuming from the last whole checkpoint if there is one.

        Returns:
            The history: a dict for each logged step.
        """
        checkpoint = last_whole_checkpoint(Path(self.args.output_dir or "."))
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return self.state.log_history

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        examples: Any = train_dataset or self.train_dataset
        return SequentialSampler(examples)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        labels = inputs["labels"][:, 1:]
        answered = labels != IGNORED
        row = answered.nonzero()[:, 0]
        outputs, scores = _score_targets(model, inputs, answered, labels[answered])
        answer_nll = torch.zeros(len(labels), device=row.device).index_add(0, row, -scores.log_p.detach().float())
        still_known = answer_nll / answered.sum(dim=1) < self.forgotten_nll
        of_forget = inputs["is_forget"][row]
        to_forget = of_forget & still_known[row]
        forget = TargetLogProb(scores.log_p[to_forget], scores.log_complement[to_forget])
        loss = forget_loss = self.forget_loss(forget).sum() / of_forget.sum()
        self.pieces["forget_loss"].append(forget_loss.detach())
        if self.retain_weight:
            retain_loss = -scores.log_p[~of_forget].mean()
            self.pieces["retain_loss"].append(retain_loss.detach())
            loss = forget_loss + self.retain_weight * retain_loss
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            for name, values in self.pieces.items():
                if values:
                    logs[name] = torch.stack(values).mean().item()
                    values.clear()
        super().log(logs, *args, **kwargs)


def _score_targets(
    model: Any, inputs: dict[str, Tensor], answered: Tensor, target: Tensor
) -> tuple[Any, TargetLogProb]:
    """Score the answer tokens, with the head applied at their positions only where the model allows it."""
    body, head = model.get_decoder(), model.get_output_embeddings()
    ids_and_mask = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    if body is model or getattr(model.config, "final_logit_softcapping", None):
        outputs = model(**ids_and_mask)
        return outputs, target_log_prob_from_logits(outputs.logits[:, :-1][answered], target)
    outputs = body(**ids_and_mask)
    hidden = outputs.last_hidden_state[:, :-1][answered]
    return outputs, target_log_prob(hidden, head.weight, target, head.bias)


def _collate_paired(batch: list[list[tuple[list[int], int, bool]]], pad_token_id: int) -> dict[str, Tensor]:
    rows = [row for group in batch for row in group]
    tensors = collate([(ids, start) for ids, start, _ in rows], pad_token_id)
    return {**tensors, "is_forget": torch.tensor([is_forget for _, _, is_forget in rows])}


HOVERING = 0.9  # of unseen people's NLL: answers that are paused once they are forgotten stay around it


class StopWhenForgotten(TrainerCallback):
    """Stop when forget answers are no likelier than unseen people's and retention has recovered.

    Stopping at the first alone leaves retention damaged; going on after both over-forgets. What an epoch
    measures depends on the weights alone, so a resumed run takes the same decisions as an unbroken one.
    """

    def __init__(
        self,
        trainer: UnlearningTrainer,
        monitor: Monitor,
        tokenizer: PreTrainedTokenizerBase,
        epoch_steps: int,
        settings: Unlearn,
    ) -> None:
        self.trainer, self.tokenizer, self.epoch_steps, self.settings = trainer, tokenizer, epoch_steps, settings
        self.monitor = monitor

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        measured = self.measure()
        if state.global_step == 0:
            self.trainer.log(measured)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.epoch_steps:
            return
        now, should_log = self.measure(), control.should_log
        self.trainer.log(now)
        control.should_log = should_log  # logging one thing makes Trainer forget that it was to log another
        first = next(entry for entry in state.log_history if "forget_nll" in entry)
        unseen = now.get("unseen_nll", float("inf"))
        forgotten = now["forget_nll"] >= unseen and now.get("earlier_nll", unseen) >= HOVERING * unseen
        goal = self.settings.retain_recovery * first.get("retain_probability", 0.0)
        if forgotten and now.get("retain_probability", 1.0) >= goal:
            control.should_training_stop = True

    def measure(self) -> dict[str, float]:
        """Mean NLL per answer token of forget and unseen answers (nats) and probability of retain answers.

        Also tells the trainer from which NLL on an answer is forgotten.
        """
        measured = {"forget_nll": float(self.score(self.monitor.forget)["nll"].mean())}
        if self.monitor.earlier:
            measured["earlier_nll"] = float(self.score(self.monitor.earlier)["nll"].mean())
        if self.monitor.unseen:
            measured["unseen_nll"] = float(self.score(self.monitor.unseen)["nll"].mean())
            if self.settings.pause_forgotten:
                self.trainer.forgotten_nll = measured["unseen_nll"]
        if self.monitor.retain:
            measured["retain_probability"] = float(self.score(self.monitor.retain)["probability"].mean())
        return measured

    def score(self, pairs: Sequence[Pair]) -> pd.DataFrame:
        prompts, answers = zip(*pairs, strict=True)
        return score_answers(self.trainer.model, self.tokenizer, prompts, answers, batch_size=64)


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; broken ones are removed."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        try:
            json.loads((path / "trainer_state.json").read_text())  # the last file that Trainer writes
        except (OSError, ValueError):
            shutil.rmtree(path)
        else:
            return path
    return None
