"""The learning rate "auto": how fast to go is found in the first steps of the run itself.

Adam moves every weight by about the rate at each step, whatever the loss; so the log-odds of forget answers move in
proportion to the sum of the rates so far. The rate doubles from step to step, from one at which no model moves, until
these log-odds have moved a little. What that took says which rate goes the whole way, to those of unseen people, in so
many steps; from then on it falls linearly to 0. Nothing is taken back: the little way was in the right
direction. After the range test of Smith 2017, arXiv 1506.01186, which looks for the rate at which a loss falls fastest.

Knows likelihoods and rates; nothing of losses, data or files.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unilogit.errors import InputError

LOWEST, HIGHEST = 1e-6, 1e-2  # rates that are tried
MOST_STEPS = math.ceil(math.log2(HIGHEST / LOWEST))  # that the search takes
LEAST_STEPS = 4 * MOST_STEPS  # of a run: after the search most of it is still to come
MOVED = 1.0  # in log-odds: how far is far enough to tell a speed
SHARE = 1 / 4  # of the steps, for the whole way at the speed that was found
# For it where tokens have targets: as many as a pass over the forget set has, but no fewer than these. What is overshot
# comes back, so a run of many passes need not go slower; but a step should be a small part of the way.
LEAST_STEPS_TO_TARGETS = 7
STARTED, RATE = "searched_nll", "found_learning_rate"  # what is logged: before the first step, and in the end
LEAST_NLL = 1e-6  # log-odds of what is certain are infinite
EVEN_ODDS = math.log(2)  # the NLL that forgetting aims at where no unseen people say it


def log_odds(nll: float) -> float:
    """log(p / (1 − p)) of an answer token of this NLL in nats."""
    return -math.log(math.expm1(max(nll, LEAST_NLL)))


def goal_of(history: Sequence[dict[str, float]]) -> float:
    """The NLL that forgetting aims at: of unseen people before the run, or even odds for each token without them."""
    return next((entry["unseen_nll"] for entry in history if "unseen_nll" in entry), EVEN_ODDS)


def steps_to_targets(steps: int, steps_a_pass: float) -> float:
    """In how many steps a run is to go the whole way to targets: see `LEAST_STEPS_TO_TARGETS`."""
    return min(SHARE * steps, max(LEAST_STEPS_TO_TARGETS, steps_a_pass))


def rate_for(way: float, moved: float, rates: float, steps: float) -> float:
    """The rate that goes the whole way in so many steps, if log-odds move in proportion to the sum of rates.

    Args:
        way: in log-odds, from where the run began to its goal.
        moved: how much of it was gone.
        rates: the sum of those by which.
        steps: for all of it.
    """
    return way / moved * rates / steps


def tried(step: int, steps: int) -> float:
    """The sum of the rates of the first so many steps of a search."""
    return sum(LOWEST * 2.0**done * (1 - done / steps) for done in range(step))


class RateSearch(TrainerCallback):
    """Steers a linear scheduler: its rate doubles from `LOWEST` on until one is found.

    What it goes by is in the run's history, and the rate in the scheduler's state: both are in a checkpoint.

    Args:
        tell: logs figures into the run's history.
        measure: the mean NLL of forget answers under the weights as they are, in nats.
        steps: that the run has.
        goes_on: where no rate moves them, go on at the highest; else that is an error.
        way_steps: steps at the rate that is found, for the whole way; None for `SHARE` of the run's.

    Raises:
        InputError: the run has too few steps.
    """

    def __init__(
        self,
        tell: Callable[[dict[str, float]], None],
        measure: Callable[[], float],
        steps: int,
        goes_on: bool = False,
        way_steps: float | None = None,
    ) -> None:
        if steps < LEAST_STEPS:
            raise InputError(
                f"unlearn.learning_rate auto may take {MOST_STEPS} optimiser steps to find a rate, and this run has"
                f" {steps}; set unlearn.min_steps to {LEAST_STEPS} or more, or give a number"
            )
        self.tell, self.measure, self.steps, self.goes_on = tell, measure, steps, goes_on
        self.way_steps = SHARE * steps if way_steps is None else way_steps

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.global_step == 0:
            self.tell({STARTED: self.measure()})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        optimizer: Optimizer = kwargs["optimizer"]
        lr_scheduler: LambdaLR = kwargs["lr_scheduler"]
        if any(RATE in entry for entry in state.log_history):
            return
        rate = self.look(state.global_step, state.log_history)
        if rate is not None:
            self.tell({RATE: rate})
        rate = rate or LOWEST * 2.0**state.global_step
        lr_scheduler.base_lrs = [rate] * len(lr_scheduler.base_lrs)
        for group in optimizer.param_groups:  # the scheduler has set what the last rate would have become
            group["lr"] = rate * (1 - state.global_step / self.steps)

    def look(self, step: int, history: Sequence[dict[str, float]]) -> float | None:
        """The rate for the rest of the run; None where what has moved until now does not tell.

        Raises:
            InputError: no rate moves anything.
        """
        [before] = [log_odds(entry[STARTED]) for entry in history if STARTED in entry]
        way = before - log_odds(goal_of(history))
        if way <= 0:
            return LOWEST  # all is forgotten: there is nowhere to go
        moved = before - log_odds(self.measure())
        if moved >= min(MOVED, way):
            return rate_for(way, moved, tried(step, self.steps), self.way_steps)
        if step < MOST_STEPS:
            return None
        if self.goes_on:
            return HIGHEST
        raise InputError(
            f"forgetting does not move at any learning rate up to {HIGHEST}: in {step} steps the log-odds of forget"
            f" answers went {moved:.2f} of {way:.2f}; set unlearn.learning_rate, or use another unlearn.method"
        )
