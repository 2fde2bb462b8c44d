"""When to stop unlearning: what is watched, and the rule. Sees training data and unseen people alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from transformers import PreTrainedTokenizerBase, TrainerCallback

from unilogit.evaluation.probability import score_answers
from unilogit.params import Unlearn
from unilogit.scorer import stands_in

Pair = tuple[str, str]  # prompt, response


@dataclass(frozen=True)
class Monitor:
    """What is watched after every epoch to decide what is forgotten and when to stop.

    Attributes:
        forget, earlier: pairs from the forget set, a sample of this batch's and of those of earlier batches.
        retain: pairs from the retain set, a sample.
        unseen: pairs about people never trained on: the likelihood that forgetting aims at.
    """

    forget: Sequence[Pair]
    retain: Sequence[Pair]
    unseen: Sequence[Pair]
    earlier: Sequence[Pair] = ()


HOVERING = 0.9  # of unseen people's NLL: answers that are paused once they are forgotten stay around it


class StopWhenForgotten(TrainerCallback):
    """Stop when forget answers are no likelier than unseen people's and retention has recovered.

    Stopping at the first alone leaves retention damaged; going on after both over-forgets. What an epoch
    measures depends on the weights alone, so a resumed run takes the same decisions as an unbroken one.
    """

    def __init__(
        self,
        trainer: Any,
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
        first = next(entry for entry in state.log_history if now.keys() <= entry.keys())
        unseen = now.get("unseen_nll", float("inf"))
        forgotten = now.get("forget_nll", 0.0) >= unseen and now.get("earlier_nll", unseen) >= HOVERING * unseen
        goal = self.settings.retain_recovery * first.get("retain_probability", 0.0)
        if forgotten and now.get("retain_probability", 1.0) >= goal:
            control.should_training_stop = True

    def measure(self) -> dict[str, float]:
        """Mean NLL per answer token of forget and unseen answers (nats) and probability of retain answers.

        Also tells the trainer from which NLL on an answer is forgotten.
        """
        measured = {}
        if self.monitor.forget:
            measured["forget_nll"] = float(self.score(self.monitor.forget)["nll"].mean())
        if self.monitor.earlier:
            measured["earlier_nll"] = float(self.score(self.monitor.earlier)["nll"].mean())
        if self.monitor.unseen:
            measured["unseen_nll"] = float(self.score(self.monitor.unseen)["nll"].mean())
            if self.settings.pause_forgotten:
                self.trainer.unlearning_loss.forgotten_nll = measured["unseen_nll"]
        if self.monitor.retain:
            measured["retain_probability"] = float(self.score(self.monitor.retain)["probability"].mean())
        return measured

    def score(self, pairs: Sequence[Pair]) -> pd.DataFrame:
        prompts, answers = zip(*pairs, strict=True)
        model = self.trainer.model
        scorer = self.trainer.unlearning_loss.scorer
        with stands_in(model, partial(score_answers, scorer, self.tokenizer, prompts, answers, batch_size=64)):
            scores: pd.DataFrame = model()
        return scores
