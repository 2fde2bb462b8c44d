"""The rate "auto": found exactly where log-odds move as assumed; on a tiny model it forgets, kills or no kills."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerCallback, TrainerControl, TrainerState, get_linear_schedule_with_warmup

from tests.training.knowing import knowing_model
from tests.training.tiny import FORGET, RETAIN, answer_tokens, largest_difference, tiny_trainer, weights
from unilogit.errors import InputError
from unilogit.training.rate_search import (
    EVEN_ODDS,
    HIGHEST,
    LEAST_STEPS,
    LOWEST,
    MOST_STEPS,
    RATE,
    SHARE,
    RateSearch,
    log_odds,
    steps_to_targets,
)
from unilogit.training.stopping import Monitor


def nll_of(odds):
    """The other way round than `log_odds`."""
    return math.log1p(math.exp(-odds))


def search(speed, steps, start, goal=None, goes_on=False, way_steps=None):
    """Steer an optimiser whose every step moves log-odds by speed × rate; (the rate of each step, what was logged)."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LOWEST)
    scheduler = get_linear_schedule_with_warmup(optimizer, 0, steps)
    state, control, rates = TrainerState(), TrainerControl(), []
    if goal is not None:
        state.log_history.append({"unseen_nll": nll_of(goal)})
    callback = RateSearch(
        state.log_history.append, lambda: nll_of(start - speed * sum(rates)), steps, goes_on, way_steps
    )
    callback.on_train_begin(None, state, control)
    for state.global_step in range(1, steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
        callback.on_step_end(None, state, control, optimizer=optimizer, lr_scheduler=scheduler)
    return rates, {name: value for entry in state.log_history for name, value in entry.items()}


@given(speed=st.floats(2e2, 2e6), steps=st.integers(LEAST_STEPS, 400), start=st.floats(0, 12), goal=st.floats(-9, -1))
def test_the_rate_goes_the_whole_way_in_its_share_of_the_steps(speed, steps, start, goal):
    rates, logged = search(speed, steps, start, goal)
    rate = logged[RATE]
    assert speed * rate * SHARE * steps == pytest.approx(start - goal, rel=1e-4)
    length = next(step for step in range(1, steps) if speed * sum(rates[:step]) >= min(1.0, start - goal) - 1e-6)
    searching = [LOWEST * 2**step * (1 - step / steps) for step in range(length)]
    going = [rate * (1 - step / steps) for step in range(length, steps)]
    assert rates == pytest.approx(searching + going)


@given(steps=st.integers(LEAST_STEPS, 400), way_steps=st.floats(1, LEAST_STEPS))
def test_the_whole_way_may_take_so_many_steps_whatever_the_run_has(steps, way_steps):
    assert search(1e4, steps, 5, way_steps=way_steps)[1][RATE] * 1e4 * way_steps == pytest.approx(5)


@pytest.mark.parametrize(
    ("steps", "steps_a_pass", "expected"), [(56, 3, 7), (560, 3, 7), (160, 8, 8), (320, 15.5, 15.5), (100, 50, 25)]
)
def test_the_whole_way_to_targets_takes_a_pass_or_seven_steps(steps, steps_a_pass, expected):
    assert steps_to_targets(steps, steps_a_pass) == expected


@pytest.mark.parametrize(("batch_size", "expected"), [(1, 8), (4, 7)])
def test_a_run_with_targets_goes_that_fast_whatever_its_length(batch_size, expected):
    targets = [np.full((2, len(ids)), -1.0, dtype=np.float32) for ids in answer_tokens()]
    for steps in (LEAST_STEPS, 2 * LEAST_STEPS):
        assert searching(targets=targets, min_steps=steps, batch_size=batch_size).way_steps == expected
        assert searching(min_steps=steps, batch_size=batch_size).way_steps == SHARE * steps


def searching(targets=(), **knobs):
    arguments = {"monitor": Monitor(FORGET, RETAIN), "targets": targets}
    trainer = tiny_trainer(knowing_model(), arguments=arguments, learning_rate="auto", **knobs)
    [found] = [one for one in trainer.callback_handler.callbacks if isinstance(one, RateSearch)]
    return found


def test_without_unseen_people_it_aims_at_even_odds():
    assert log_odds(EVEN_ODDS) == pytest.approx(0)
    assert search(1e4, 100, 5)[1][RATE] * 1e4 * SHARE * 100 == pytest.approx(5)


@given(st.floats(-12, 12))
def test_log_odds_are_those_of_the_probability(odds):
    p = math.exp(-nll_of(odds))
    assert log_odds(nll_of(odds)) == pytest.approx(math.log(p / (1 - p)), abs=1e-6)


def test_what_is_forgotten_already_is_pressed_on_at_the_lowest_rate():
    assert search(1e4, 100, start=-3, goal=-2)[1][RATE] == LOWEST


def test_a_run_that_no_rate_moves_is_refused():
    with pytest.raises(InputError, match=rf"does not move at any learning rate up to {HIGHEST}: in {MOST_STEPS} steps"):
        search(0, 100, 5)
    assert search(0, 100, 5, goes_on=True)[1][RATE] == HIGHEST


def test_a_run_shorter_than_the_search_is_refused():
    with pytest.raises(InputError, match=r"may take 14 optimiser steps .*, and this run has 4; set unlearn.min_steps"):
        tiny_trainer(knowing_model(), learning_rate="auto")


class Killed(Exception):
    pass


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


def auto_trainer(folder=None):
    knobs = {"learning_rate": "auto", "retain_term": "none", "epochs": 9}  # of two steps
    return tiny_trainer(knowing_model(), folder, {"monitor": Monitor(FORGET, RETAIN)}, **knobs)


def test_a_run_killed_while_searching_and_after_it_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    monkeypatch.setattr("unilogit.training.rate_search.LEAST_STEPS", 0)
    unbroken = auto_trainer()
    history = unbroken.run()
    [step] = [entry["step"] for entry in history if RATE in entry]
    [before, *_, after] = [entry["forget_nll"] for entry in history if "forget_nll" in entry]
    assert after > 10 * before
    for kill in (step - 2, step + 3):
        task = auto_trainer(tmp_path)
        task.add_callback(KillAt(kill))
        with pytest.raises(Killed):
            task.run()
    resumed = auto_trainer(tmp_path)
    assert [entry for entry in resumed.run() if RATE in entry] == [entry for entry in history if RATE in entry]
    assert largest_difference(weights(unbroken.model), weights(resumed.model)) == 0
