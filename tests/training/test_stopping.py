"""The stop rule: what it says in words is what it does, on given histories and on a tiny model."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.knowing import knowing_model
from tests.training.tiny import FORGET, RETAIN, answer_tokens, pairs, tiny_config, tiny_model, tiny_trainer
from unilogit.errors import InputError
from unilogit.training.rate_search import log_odds
from unilogit.training.stopping import HOVERING, Monitor, drift, forgotten_and_recovered, stop_rule, why_unmoved

nll = st.floats(0, 10)


def measured(forget=None, unseen=None, earlier=None, retain=None):
    entry = {"forget_nll": forget, "unseen_nll": unseen, "earlier_nll": earlier, "retain_probability": retain}
    return {name: value for name, value in entry.items() if value is not None}


@given(forget=nll, unseen=nll, earlier=st.none() | nll, before=st.floats(0, 1), now=st.floats(0, 1))
def test_it_stops_when_all_is_forgotten_and_retention_is_back(forget, unseen, earlier, before, now):
    history = [measured(0, 5, 0, before), {"loss": 1.0}, measured(forget, unseen, earlier, now), {"loss": 0.5}]
    expected = forget >= unseen and (earlier is None or earlier >= HOVERING * unseen) and now >= 0.98 * before
    assert forgotten_and_recovered(history, tiny_config()) == expected
    assert not forgotten_and_recovered(history[2:], tiny_config())  # nothing was trained yet


@given(forget=nll, now=st.floats(0, 1))
def test_without_unseen_people_it_never_stops(forget, now):
    history = [measured(0, retain=1), measured(forget, retain=now)]
    assert not forgotten_and_recovered(history, tiny_config())


def test_what_holds_is_said():
    watched = {"forget": FORGET, "retain": RETAIN}
    assert stop_rule(Monitor(**watched, unseen=RETAIN), tiny_config(), 7) == (
        "stops when forget answers are no likelier than unseen people's and retention has recovered to 98%, after 7 "
        "optimiser steps at the latest; such answers are not pressed on meanwhile; an earlier epoch's weights are kept "
        "if they were nearer"
    )
    assert "are pressed on until then" in stop_rule(
        Monitor(**watched, unseen=RETAIN), tiny_config(pause_forgotten=False), 7
    )
    assert stop_rule(Monitor(FORGET, unseen=RETAIN), tiny_config(unmoved="continue"), 7).endswith(
        "if they were nearer; goes on even if forgetting hardly moves"
    )
    assert "retention" not in stop_rule(Monitor(FORGET, unseen=RETAIN), tiny_config(), 7)
    nothing_to_compare_with = (
        "no unseen people: every answer is pressed on for all 7 optimiser steps; nothing stops earlier"
    )
    assert stop_rule(Monitor(**watched), tiny_config(), 7) == nothing_to_compare_with
    assert stop_rule(Monitor(), tiny_config(), 7) == nothing_to_compare_with
    assert stop_rule(Monitor(unseen=RETAIN), tiny_config(), 7).startswith("nothing to forget is watched")


def entries(history):
    return [entry for entry in history if "forget_nll" in entry]


def test_it_stops_once_forgotten_and_retained():
    monitor = Monitor(forget=FORGET, retain=RETAIN, unseen=RETAIN[:4])
    task = tiny_trainer(
        tiny_model(), arguments={"monitor": monitor}, method="grad_diff", epochs=30, retain_recovery=1.0
    )
    assert task.stop_rule.startswith("stops when forget answers")
    first, *watched, last = entries(task.run())
    assert len(watched) < 20
    assert task.epochs_done == len(watched) + 1

    def holds(entry):
        return entry["forget_nll"] >= entry["unseen_nll"] and entry["retain_probability"] >= first["retain_probability"]

    assert holds(last)
    assert not any(holds(entry) for entry in watched)


@pytest.mark.parametrize("unseen", [[], RETAIN[:4]], ids=["nobody unseen", "unseen people"])
@pytest.mark.parametrize("pause", [True, False])
def test_only_beside_unseen_people_is_anything_paused(unseen, pause):
    """A model from random weights knows nobody: all answers are about as likely, so half of them are paused."""
    task = tiny_trainer(
        tiny_model(), arguments={"monitor": Monitor(FORGET, RETAIN, unseen)}, pause_forgotten=pause, retain_recovery=1.0
    )
    said = task.stop_rule
    history = task.run()
    is_paused = task.unlearning_loss.forgotten_nll < float("inf")
    assert is_paused == bool(unseen and pause)
    assert is_paused == ("such answers are not pressed on" in said)
    assert len(entries(history)) == 3  # before, and after each of two epochs


@given(st.lists(st.none() | st.floats(0.01, 10), max_size=5), st.floats(0.01, 10))
def test_drift_is_of_the_last_measurement_beside_the_first(between, before):
    entries = [before, *between]
    history = [{"loss": 1.0} if nll is None else {"unseen_nll": nll} for nll in entries]
    assert drift(history) == [nll for nll in entries if nll is not None][-1] / before
    assert drift([{"loss": 1.0}]) == drift([{"unseen_nll": 0.0}]) == 1.0


@pytest.mark.parametrize("unseen", [[], [*RETAIN, *pairs(11, "Cy")]], ids=["nobody unseen", "unseen people"])
def test_targets_follow_unseen_people(unseen):
    """Some of these are retained in truth, so that all together get likelier for sure."""
    targets = [np.full((2, len(ids)), -4.0, dtype=np.float32) for ids in answer_tokens()]
    task = tiny_trainer(
        tiny_model(),
        arguments={"monitor": Monitor(FORGET, (), unseen), "targets": targets},
        **{"learning_rate": 1e-2, "retain_weight": 4.0, "epochs": 40},
    )
    before, *_, last = entries(task.run())
    follows = last["unseen_nll"] / before["unseen_nll"] if unseen else 1.0
    assert task.unlearning_loss.drift == follows
    assert follows < 0.8 or not unseen
    assert last["forget_nll"] == pytest.approx(4 * follows, abs=0.5)


def test_the_rule_is_logged_once(caplog):
    with caplog.at_level("INFO", logger="unilogit.training.trainer"):
        task = tiny_trainer(tiny_model(), epochs=1)
        task.run()
    assert caplog.messages == [f"stop rule: {task.stop_rule}"]


def nll_of(odds):
    return math.log1p(math.exp(-odds))


@given(
    share=st.floats(0, 2),
    start=st.floats(0, 10),
    goal=st.none() | st.floats(-9, -1),
    steps=st.integers(40, 400),
    epoch=st.integers(1, 30),
)
def test_a_run_that_will_not_go_half_its_way_is_told_once(share, start, goal, steps, epoch):
    """Brute force: every step moves log-odds by its rate, so that the last one ends at `share` of the way."""
    way = start - (goal or 0)
    rates = [1 - step / steps for step in range(steps)]
    history, told = [measured(nll_of(start), goal and nll_of(goal)) | {"step": 0}], []
    for step in range(epoch, steps, epoch):
        moved = share * way * sum(rates[:step]) / sum(rates)
        history.append(measured(nll_of(start - moved), goal and nll_of(goal)) | {"step": step})
        told += [why] if (why := why_unmoved(history, steps)) else []
    if share > 0.52 or way < 1:
        assert not told
    elif share < 0.48 and epoch < steps and way > 1.01:
        [why] = told
        before, now, aim = (math.exp(-nll_of(odds)) for odds in (start, start - moved, goal or 0))
        assert f"{before:.3f} before, and they should come to {aim:.3f}; raise unlearn.learning_rate" in why
        assert now <= before + 1e-9


def test_it_says_how_much_faster_to_go():
    [before, now] = [measured(nll_of(4), nll_of(-4)) | {"step": 0}, measured(nll_of(3), nll_of(-4)) | {"step": 50}]
    why = why_unmoved([before, now], 100)  # an eighth of the way by three quarters of the rates: a sixth in the end
    assert why == (
        "forgetting hardly moves: after 50 of 100 optimiser steps forget answers have probability 0.953 per token, "
        "0.982 before, and they should come to 0.018; raise unlearn.learning_rate (6 times as high, or auto), or set "
        "unlearn.unmoved to continue"
    )
    assert "(100 times as high and more, or auto)" in why_unmoved([before, before | {"step": 50}], 100)
    assert why_unmoved([before, now | {"step": 15}], 30) is None  # too short a run to say
    assert log_odds(nll_of(3)) == pytest.approx(3)


def test_a_run_that_hardly_moves_stops_unless_told_to_go_on():
    def run(**knobs):
        return tiny_trainer(knowing_model(), arguments={"monitor": Monitor(FORGET)}, epochs=16, **knobs).run()

    with pytest.raises(InputError, match=r"hardly moves: after 8 of 32 optimiser steps"):
        run(learning_rate=1e-6)
    assert len(entries(run(learning_rate=1e-6, unmoved="continue"))) == 17
    assert len(entries(run(learning_rate=1e-2))) == 17


@pytest.mark.parametrize("rate", ["auto", 1e-3])
def test_weights_that_are_no_numbers_are_no_progress(rate):
    model = tiny_model()
    model.model.norm.weight.data.fill_(math.nan)
    trainer = tiny_trainer(model, arguments={"monitor": Monitor(FORGET, RETAIN)}, learning_rate=rate, min_steps=64)
    with pytest.raises(InputError, match=r"after 0 optimiser steps .* \(NaN\).* whose weights are numbers"):
        trainer.run()


def test_training_that_diverges_is_told_where_it_is_measured():
    trainer = tiny_trainer(
        tiny_model(), arguments={"monitor": Monitor(FORGET, RETAIN)}, learning_rate=1e30, epochs=20, batch_size=8
    )
    with pytest.raises(InputError, match=r"after 2 optimiser steps .* \(NaN\).*; lower unlearn\.learning_rate"):
        trainer.run()
