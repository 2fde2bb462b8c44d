"""A run ends with the weights that were nearest to its aim: by brute force over all epochs, resumed or not."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerCallback

from tests.training.knowing import knowing_model
from tests.training.tiny import FORGET, RETAIN, answer_tokens, pairs, tiny_config, tiny_trainer, weights
from unilogit.training.nearest import CHANCE, KEPT, aims_of, distances, kept_step
from unilogit.training.stopping import Monitor

nll = st.floats(0, 10)
UNSEEN = RETAIN[:4]
TOO_FAR = {"method": "gradient_ascent", "pause_forgotten": False, "learning_rate": 3e-3, "epochs": 8}


class KeepAll(TrainerCallback):
    """The weights after every step."""

    def __init__(self, task):
        self.task, self.after = task, {}

    def on_step_end(self, args, state, control, **kwargs):
        self.after[state.global_step] = weights(self.task.model)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def watched(forget, retain, unseen=5.0, step=0, **others):
    measured = {"forget_nll": forget, "retain_probability": retain, "unseen_nll": unseen, "step": step}
    return {name: value for name, value in (measured | others).items() if value is not None}


@given(st.lists(st.tuples(nll, st.floats(0.01, 1), nll), min_size=1, max_size=6), st.none() | nll)
def test_distances_are_of_what_is_forgotten_and_of_what_is_lost(epochs, aim):
    history = [watched(0, 0.5), {"loss": 1.0, "step": 1}]
    for step, (forget, retain, unseen) in enumerate(epochs, start=2):
        history += [watched(forget, retain, unseen, step), {"loss": 1.0, "step": step}]
    expected = [  # 5 is what unseen people's NLL was before: an aim drifts as it does
        (step, abs(forget - unseen * (1 if aim is None else aim / 5)) + max(0, math.log(0.5) - math.log(retain)))
        for step, (forget, retain, unseen) in enumerate(epochs, start=2)
    ]
    found = distances(history, {} if aim is None else {"forget": aim})
    assert [step for step, _ in found] == [step for step, _ in expected]
    assert [distance for _, distance in found] == pytest.approx([distance for _, distance in expected])


def test_who_was_forgotten_before_counts_as_well():
    history = [watched(0, 1, earlier_nll=5), watched(5, 1, step=2, earlier_nll=3)]
    assert distances(history, {}) == [(2, 2)]
    assert distances(history, {"earlier": 4.0}) == [(2, 1)]
    history[1]["unseen_nll"] = 4.0  # 5 before
    assert distances(history, {"forget": 5.0, "earlier": 5.0}) == [(2, 1 + 1)]


def test_what_retained_answers_lost_whole_is_infinitely_far():
    assert distances([watched(0, 0.5), watched(5, 0.0, step=1)], {}) == [(1, math.inf)]


def test_where_both_are_infinite_nothing_is_near():
    history = [watched(0, 1), watched(4, 1, step=1), watched(math.inf, 1, math.inf, 2)]
    assert distances(history, {}) == [(1, 1), (2, math.inf)]
    assert kept_step(history, {}, tiny_config(retain_recovery=1.0), has_targets=True) == 1


def test_without_an_aim_nothing_is_near():
    history = [watched(0, 1, None), watched(3, 0.5, None, 2)]
    assert distances(history, {}) == []
    assert kept_step(history, {}, tiny_config(), has_targets=False) is None


def test_an_earlier_epoch_is_kept_only_where_it_was_nearer_than_chance():
    def kept(last, **knobs):
        history = [watched(0, 1), watched(4, 1, step=1), watched(last, 1, step=2)]
        return kept_step(history, {}, tiny_config(**knobs), has_targets=knobs == {})

    assert kept(6 + 0.9 * CHANCE) == 2
    assert kept(6 + 1.1 * CHANCE) == 1
    assert kept(9, retain_recovery=0.9) == 2  # forgotten and recovered: where a run at 1/V is to stop


def test_watched_answers_are_driven_to_their_own_targets():
    targets = [np.log(np.full((2, 3), 1 / (number + 2), dtype=np.float32)) for number in range(len(FORGET))]
    aims = aims_of(Monitor([FORGET[0], FORGET[2]], earlier=[FORGET[4]]), FORGET, targets)
    assert aims == pytest.approx({"forget": (math.log(2) + math.log(4)) / 2, "earlier": math.log(6)})
    assert aims_of(Monitor(FORGET), FORGET, ()) == {}


@pytest.mark.parametrize("knobs", [{}, {"lora_rank": 2, "learning_rate": 3e-2}], ids=["all weights", "an adapter"])
def test_a_run_that_goes_too_far_ends_where_it_was_nearest(knobs, tmp_path):
    monitor = Monitor(FORGET, RETAIN, UNSEEN)
    task = tiny_trainer(knowing_model(), arguments={"monitor": monitor, "merges": False}, **TOO_FAR | knobs)
    task.add_callback(kept := KeepAll(task))
    history = task.run()
    measured = [entry for entry in history if "forget_nll" in entry]
    away = {
        entry["step"]: abs(entry["forget_nll"] - entry["unseen_nll"])
        + max(0, math.log(measured[0]["retain_probability"] / entry["retain_probability"]))
        for entry in measured[1:]
    }
    best = min(away, key=away.get)
    assert 0 < best < max(away)
    assert away[best] + CHANCE < away[max(away)]
    assert [entry[KEPT] for entry in history if KEPT in entry] == [best]
    ended = weights(task.model)
    assert same(ended, kept.after[best])
    assert not same(ended, kept.after[max(away)])


def test_a_run_that_arrives_ends_with_its_last_weights():
    targets = [np.full((2, len(ids)), -1.0, dtype=np.float32) for ids in answer_tokens()]
    task = tiny_trainer(
        knowing_model(), arguments={"monitor": Monitor(FORGET, RETAIN, pairs(4, "Cy")), "targets": targets}, epochs=12
    )
    task.add_callback(kept := KeepAll(task))
    history = task.run()
    assert not any(KEPT in entry for entry in history)
    assert same(weights(task.model), kept.after[max(kept.after)])
