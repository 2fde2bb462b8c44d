"""When to stop unlearning: what is watched, the rule, and its wording. Sees training data and unseen people alone.

There is one behaviour, and `stop_rule` says it before training:

- With unseen people, training stops once forget answers are no likelier than theirs and retention has recovered;
  with `pause_forgotten`, an answer that is no likelier than theirs is not pressed on for as long as that holds.
- Without them nothing says what forgotten is: every answer is pressed on to the last epoch.
- With targets of their own, tokens are driven there and stay: to the last epoch, and nothing is left out. Targets
  follow unseen people's answers, whose likelihood drifts as the model changes.
- Where there is such an aim, a run that ends further from it than an earlier epoch was keeps that one's weights
  (nearest.py).

Beside it, a run of a given learning rate that will not have forgotten by its end is refused after a quarter of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unilogit.data.prompt_format import Prompt
from unilogit.data.tokenisation import Encoded, encode_all
from unilogit.errors import InputError
from unilogit.evaluation.probability import score_answers
from unilogit.training.config import UnlearnConfig
from unilogit.training.rate_search import MOVED, goal_of, log_odds
from unilogit.wrappers import run_as_forward

if TYPE_CHECKING:
    from unilogit.training.trainer import UnlearningTrainer

Pair = tuple[Prompt, str]  # what is asked, and the response
History = Sequence[dict[str, float]]  # what Trainer logs: a dict for each logged step
HOVERING = 0.9  # of unseen people's NLL: answers that are paused once they are forgotten stay around it
SCORED_TOKENS = 4096  # at once; always the same, for the same bits whatever memory there is
TOLD_AFTER, LEAST_SHARE = 0.25, 0.5  # of the steps, and of the way to forgetting: see `why_unmoved`
LEAST_STEPS = 32  # of a run of which a quarter says anything


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


def stop_rule(monitor: Monitor, config: UnlearnConfig, steps: int, has_targets: bool = False) -> str:
    """What `forgotten_and_recovered`, `pause_forgotten` and `unmoved` come to for a run of so many steps, in words.

    Args:
        has_targets: tokens have targets of their own.
    """
    unmoved = "; goes on even if forgetting hardly moves" if monitor.forget and config.unmoved == "continue" else ""
    kept = "; an earlier epoch's weights are kept if they were nearer" if monitor.forget or monitor.earlier else ""
    if has_targets:
        return f"each forget token is driven to its own target for all {steps} optimiser steps{kept}{unmoved}"
    if not monitor.can_stop:
        why = "nothing to forget is watched" if monitor.unseen else "no unseen people"
        pressed = "answers no likelier than unseen people's are not pressed on"
        paused = pressed if monitor.unseen and config.pause_forgotten else "every answer is pressed on"
        return f"{why}: {paused} for all {steps} optimiser steps; nothing stops earlier{unmoved}"
    goal = "forget answers are no likelier than unseen people's"
    if monitor.retain:
        goal += f" and retention has recovered to {100 * config.retain_recovery:g}%"
    pressed = "such answers are not pressed on meanwhile" if config.pause_forgotten else "all are pressed on until then"
    return f"stops when {goal}, after {steps} optimiser steps at the latest; {pressed}{kept}{unmoved}"


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


def drift(history: History) -> float:
    """Unseen people's mean NLL as it was measured last, over that before unlearning; 1 where there are none."""
    measured = [entry["unseen_nll"] for entry in history if "unseen_nll" in entry]
    return measured[-1] / measured[0] if measured and measured[0] else 1.0


def why_unmoved(history: History, steps: int) -> str | None:
    """Why much will still be known when this run ends, as a sentence; None where nothing says so.

    Told once, by the first measurement after `TOLD_AFTER` of the steps: log-odds of forget answers move in proportion
    to the sum of learning rates (rate_search.py), which fall linearly to 0. So at a share x of the steps 1 − (1 − x)²
    of all that will move has moved; that hardly moves which will not go `LEAST_SHARE` of its way. Runs of fewer than
    `LEAST_STEPS` steps are not judged.

    Args:
        history: everything logged so far.
        steps: that the run has.
    """
    measured = [entry for entry in history if "forget_nll" in entry]
    done = [entry["step"] / steps for entry in measured]
    if steps < LEAST_STEPS or len(measured) < 2 or not done[-2] < TOLD_AFTER <= done[-1] < 1:
        return None
    before, now, goal = measured[0]["forget_nll"], measured[-1]["forget_nll"], goal_of(history)
    way, moved = log_odds(before) - log_odds(goal), log_odds(before) - log_odds(now)
    share = moved / way / (1 - (1 - done[-1]) ** 2) if way >= MOVED else 1.0  # less of a way is hardly one
    if share >= LEAST_SHARE:
        return None
    faster = f"{1 / share:.0f} times as high" if share > 0.01 else "100 times as high and more"
    return (
        f"forgetting hardly moves: after {measured[-1]['step']:.0f} of {steps} optimiser steps forget answers have"
        f" probability {math.exp(-now):.3f} per token, {math.exp(-before):.3f} before, and they should come to"
        f" {math.exp(-goal):.3f}; raise unlearn.learning_rate ({faster}, or auto), or set unlearn.unmoved to continue"
    )


class StopWhenForgotten(TrainerCallback):
    """Measure before the first epoch, after each and at the end; say what is forgotten, and stop by the rule.

    What an epoch measures depends on the weights alone, so a resumed run takes the same decisions as an unbroken one.
    """

    def __init__(
        self, trainer: "UnlearningTrainer", monitor: Monitor, epoch_steps: int, max_length: int | None
    ) -> None:
        self.trainer, self.monitor, self.epoch_steps, self.max_length = trainer, monitor, epoch_steps, max_length
        self._encoded: dict[tuple[Pair, ...], list[list[Encoded]]] = {}

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
        config = self.trainer.config
        is_judged = config.unmoved == "stop" and config.learning_rate != "auto"  # the search judges for itself
        if is_judged and (problem := why_unmoved(state.log_history, state.max_steps)):
            raise InputError(problem)
        if not self.trainer.examples.has_targets and forgotten_and_recovered(state.log_history, config):
            control.should_training_stop = True

    def measure(self) -> dict[str, float]:
        """Mean NLL per answer token of forget and unseen answers (nats) and probability of retain answers.

        Also tells the trainer from which NLL on an answer is forgotten, and how far targets have drifted.
        """
        measured = {}
        for name in ("forget", "earlier", "unseen"):
            if pairs := getattr(self.monitor, name):
                measured[f"{name}_nll"] = float(self.score(pairs)["nll"].mean())
        if self.monitor.retain:
            measured["retain_probability"] = float(self.score(self.monitor.retain)["probability"].mean())
        if self.monitor.unseen and self.trainer.config.pause_forgotten and not self.trainer.examples.has_targets:
            self.trainer.unlearning_loss.forgotten_nll = measured["unseen_nll"]
        self.trainer.unlearning_loss.drift = drift([*self.trainer.state.log_history, measured])
        return measured

    def score(self, pairs: Sequence[Pair]) -> pd.DataFrame:
        """What `score_answers` says of these pairs under the weights as they are.

        Raises:
            InputError: they give no numbers.
        """
        prompts, answers = zip(*pairs, strict=True)
        trainer = self.trainer
        scorer, tokenizer = trainer.unlearning_loss.scorer, trainer.tokenizer
        if tuple(pairs) not in self._encoded:
            self._encoded[tuple(pairs)] = encode_all(tokenizer, prompts, answers, self.max_length)
        scoring = partial(score_answers, batch_tokens=SCORED_TOKENS, windows=self._encoded[tuple(pairs)])
        with trainer.accelerator.autocast():
            scores: pd.DataFrame = run_as_forward(trainer.model, scoring, scorer, tokenizer, prompts, answers)
        if scores["nll"].isna().any():
            done = trainer.state.global_step
            remedy = "lower unlearn.learning_rate" if done else "use a model whose weights are numbers"
            raise InputError(
                f"after {done} optimiser steps the model gives answers no probability (NaN), so the weights are of no"
                f" use; {remedy}"
            )
        return scores
