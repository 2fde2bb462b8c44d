"""Trials: the best one is taken, a killed one is made up for alone, and one that diverges is the worst there is."""

import numpy as np
import pytest

from tasks.study import tuning
from tasks.study.plan import DEFAULT, settings_of
from tasks.study.tuning import WORST, Validated, tune
from tests.tasks.study.small import small_plan
from unilogit.errors import InputError
from unilogit.files import read_json


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Of eight trials, whose models are not trained."""
    monkeypatch.setattr(tuning, "models_of", lambda plan, seed: type("Models", (), {"full": "full"}))
    monkeypatch.setattr(tuning, "validate", lambda *arguments: Validated(1.0, 0.9))
    return small_plan(tmp_path, trials=8, rates=[1e-3, 1e-2, 1e-1], retain_weights=[1.0, 5.0])


def outcome(settings):
    values = dict(setting.removeprefix("unlearn.").split("=") for setting in settings)
    if float(values["learning_rate"]) == 1e-1:
        return None
    return Validated(0.5 + float(values["learning_rate"]), 0.9 + float(values["retain_weight"]) / 100)


def test_the_settings_of_the_best_trial_are_taken_and_all_trials_told(plan, monkeypatch):
    monkeypatch.setattr(tuning, "_try", lambda plan, method, seed, settings, before: outcome(settings))
    settings = tune(plan, "grad_diff")
    written = read_json(plan.tuned / "grad_diff.json")
    assert written["settings"] == settings
    assert len(written["trials"]) == 8
    losses = []
    for trial in written["trials"]:
        validated = outcome(settings_of("grad_diff", trial["learning_rate"], trial["epochs"], trial["retain_weight"]))
        assert trial["loss"] == (WORST if validated is None else pytest.approx(validated.loss))
        losses.append(trial["loss"])
    assert outcome(settings).loss == pytest.approx(min(losses))
    monkeypatch.setattr(tuning, "_try", lambda *arguments: pytest.fail("it was tuned already"))
    assert tune(plan, "grad_diff") == settings


def test_a_killed_trial_is_made_up_for_and_no_other(plan, monkeypatch):
    tried = []

    def killed_at_the_fourth(plan, method, seed, settings, before):
        tried.append(settings)
        if len(tried) == 4:
            raise KeyboardInterrupt
        return outcome(settings)

    monkeypatch.setattr(tuning, "_try", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        tune(plan, "npo")
    tune(plan, "npo")
    assert len(tried) == 9
    assert len({tuple(settings) for settings in tried}) == 9  # nothing is tried twice
    assert len(read_json(plan.tuned / "npo.json")["trials"]) == 8


def test_a_line_of_the_journal_that_a_full_disk_cut_costs_one_trial_at_the_most(plan, monkeypatch):
    monkeypatch.setattr(tuning, "_try", lambda plan, method, seed, settings, before: outcome(settings))
    tune(plan, "npo")
    (plan.tuned / "npo.json").unlink()
    journal = plan.tuned / "npo.log"
    journal.write_bytes(journal.read_bytes()[:-20])
    tune(plan, "npo")
    assert len(read_json(plan.tuned / "npo.json")["trials"]) == 8


def test_more_trials_or_other_rates_are_not_answered_by_what_was_tried_before(plan, monkeypatch):
    monkeypatch.setattr(tuning, "_try", lambda plan, method, seed, settings, before: outcome(settings))
    tune(plan, "npo")
    for change in ({"trials": 9}, {"rates": [1e-4, 1e-3, 1e-2]}, {"seeds": [2]}):
        tune(other := plan.model_copy(update=change), "npo")
        trials = read_json(other.tuned / "npo.json")["trials"]
        assert len(trials) == other.trials
        assert {trial["learning_rate"] for trial in trials} <= set(other.rates)


def test_where_all_diverge_it_is_said_what_to_give(plan, monkeypatch):
    monkeypatch.setattr(tuning, "_try", lambda *arguments: None)
    with pytest.raises(InputError, match="all 8 trials diverged; give lower rates"):
        tune(plan, "npo")


def test_the_recipe_as_shipped_is_not_tuned(plan, monkeypatch):
    monkeypatch.setattr(tuning, "_try", lambda *arguments: pytest.fail("it was tuned"))
    assert tune(plan, DEFAULT) == []


@pytest.mark.parametrize(
    ("auc", "retain", "loss"), [(0.5, 1.0, 0), (1, 1, 1), (0, 1, 1), (0.75, 1.2, 0.5), (0.5, 0.9, 0.1), (1, 0, WORST)]
)
def test_remembered_over_forgotten_and_lost_are_bad_alike(auc, retain, loss):
    assert Validated(auc, retain).loss == pytest.approx(loss)
    assert np.isfinite(Validated(auc, retain).loss)
