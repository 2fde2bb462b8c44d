"""When to stop unlearning: what is watched, the rule, and its wording. Sees training data and unseen people alone.

There is one behaviour, and `stop_rule` says it before training:

- With unseen people, training stops once forget answers are no likelier than theirs and retention has recovered;
  with `pause_forgotten`, an answer that is no likelier than theirs is not pressed on for as long as that holds.
- Without them nothing says what forgotten is: every answer is pressed on to the last epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unilogit.data.prompt_format import Prompt
from unilogit.evaluation.probability import score_answers
from unilogit.training.config import UnlearnConfig
from unilogit.wrappers import run_as_forward

if TYPE_CHECKING:
    from unilogit.training.trainer import UnlearningTrainer

Pair = tuple[Prompt, str]  # what is asked, and the response
History = Sequence[dict[str, float]]  # what Trainer logs: a dict for each logged step
HOVERING = 0.9  # of unseen people's NLL: answers that are paused once they are forgotten stay around it
SCORED_TOKENS = 4096  # at once; always the same, for the same bits whatever memory there is


@dataclass(frozen=True)
class Monitor:
    """What is watched after every epoch to decide what is forgotten and when to stop.

    Attributes:
        forget, earlier: pairs from the forget set, a sample of this batch's and of those of earlier batches.
        retain: pairs from the retain set, a sample.
        unseen: pairs about people never trained on: the likelihood that forgetting aims at.
    """

    forget: Sequence[Pair] = ()
    retain: Sequence[Pair] = ()
    unseen: Sequence[Pair] = ()
    earlier: Sequence[Pair] = ()

    @property
    def can_stop(self) -> bool:
        """Whether there is anybody to compare what is forgotten with."""
        return bool(self.unseen and (self.forget or self.earlier))


def stop_rule(monitor: Monitor, config: UnlearnConfig, steps: int) -> str:
    """What `forgotten_and_recovered` and `pause_forgotten` come to for a run of so many steps, as one sentence."""
    if not monitor.can_stop:
        why = "nothing to forget is watched" if monitor.unseen else "no unseen people"
        pressed = "answers no likelier than unseen people's are not pressed on"
        paused = pressed if monitor.unseen and config.pause_forgotten else "every answer is pressed on"
        return f"{why}: {paused} for all {steps} optimiser steps; nothing stops earlier"
    goal = "forget answers are no likelier than unseen people's"
    if monitor.retain:
        goal += f" and retention has recovered to {100 * config.retain_recovery:g}%"
    pressed = "such answers are not pressed on meanwhile" if config.pause_forgotten else "all are pressed on until then"
    return f"stops when {goal}, after {steps} optimiser steps at the latest; {pressed}"


def forgotten_and_recovered(history: History, config: UnlearnConfig) -> bool:
    """Whether training is over, by the last of what `StopWhenForgotten` logged after an epoch.

    Stopping at the first alone leaves retention damaged; going on after both over-forgets.

    Args:
        history: everything logged so far; the first measurement is that of the model before unlearning.
    """
    measured = [entry for entry in history if "unseen_nll" in entry]
    if len(measured) < 2:
        return False
    before, now = measured[0], measured[-1]
    unseen = now["unseen_nll"]
    if "forget_nll" not in now and "earlier_nll" not in now:
        return False
    forgotten = now.get("forget_nll", unseen) >= unseen and now.get("earlier_nll", unseen) >= HOVERING * unseen
    goal = config.retain_recovery * before.get("retain_probability", 0.0)
    return forgotten and now.get("retain_probability", 1.0) >= goal


class StopWhenForgotten(TrainerCallback):
    """Measure before the first epoch, after each and at the end; say what is forgotten, and stop by the rule.

    What an epoch measures depends on the weights alone, so a resumed run takes the same decisions as an unbroken one.
    """

    def __init__(
        self, trainer: "UnlearningTrainer", monitor: Monitor, epoch_steps: int, max_length: int | None
    ) -> None:
        self.trainer, self.monitor, self.epoch_steps, self.max_length = trainer, monitor, epoch_steps, max_length

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step < state.max_steps:
            measured = self.measure()
            if state.global_step == 0 and measured:
                self.trainer.log(measured)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step % self.epoch_steps and state.global_step < state.max_steps:
            return
        if measured := self.measure():
            self.trainer.log(measured)
        # A checkpoint follows: what was logged before it and after it must not depend on a kill between the two.
        # And logging makes Trainer forget that it was to log another thing.
        control.should_log = True
        if forgotten_and_recovered(state.log_history, self.trainer.config):
            control.should_training_stop = True

    def measure(self) -> dict[str, float]:
        """Mean NLL per answer token of forget and unseen answers (nats) and probability of retain answers.

        Also tells the trainer from which NLL on an answer is forgotten.
        """
        measured = {}
        for name in ("forget", "earlier", "unseen"):
            if pairs := getattr(self.monitor, name):
                measured[f"{name}_nll"] = float(self.score(pairs)["nll"].mean())
        if self.monitor.retain:
            measured["retain_probability"] = float(self.score(self.monitor.retain)["probability"].mean())
        if self.monitor.unseen and self.trainer.config.pause_forgotten:
            self.trainer.unlearning_loss.forgotten_nll = measured["unseen_nll"]
        return measured

    def score(self, pairs: Sequence[Pair]) -> pd.DataFrame:
        """What `score_answers` says of these pairs under the weights as they are."""
        prompts, answers = zip(*pairs, strict=True)
        trainer = self.trainer
        scorer, tokenizer = trainer.unlearning_loss.scorer, trainer.tokenizer
        scoring = partial(score_answers, batch_tokens=SCORED_TOKENS, max_length=self.max_length)
        with trainer.accelerator.autocast():
            scores: pd.DataFrame = run_as_forward(trainer.model, scoring, scorer, tokenizer, prompts, answers)
        return scores
