"""A study's plan: what it refuses, where it works, and what a trial of each method sets."""

import pytest
from pydantic import ValidationError

from tasks.study.plan import DEFAULT, StudyPlan, settings_of
from unilogit.losses.registry import METHODS


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"methods": ["npo", "nop"]}, "one of:"),
        ({"methods": []}, "at least 1 item"),
        ({"split": "forget50"}, "forget01"),
        ({"trials": 0}, "greater than or equal to 1"),
        ({"trials": 3, "rates": [1e-3], "epochs": [6], "retain_weights": [1, 2]}, "more than the 2 settings"),
        ({"full": "a/model", "seeds": [1]}, "give both models"),
        ({"full": "a/model", "retain_model": "another", "seeds": [1, 2]}, "of one seed"),
    ],
)
def test_a_plan_that_cannot_be_worked_on_is_refused(fields, problem):
    with pytest.raises(ValidationError, match=problem):
        StudyPlan(**fields)


@pytest.mark.parametrize("method", METHODS)
def test_what_a_trial_sets_is_heeded_by_its_method(method):
    """Parameters with an idle knob would be refused when the trial begins."""
    from unilogit.training.idle_knobs import idle_knobs

    params = StudyPlan().load(1, settings_of(method, 2e-4, 6, 10.0))
    assert (params.seed, params.unlearn.method) == (1, method)
    assert (params.unlearn.learning_rate, params.unlearn.epochs) == (2e-4, 6)
    assert idle_knobs(params.unlearn) == []
    assert (params.unlearn.retain_weight == 10) == (METHODS[method].retain_term != "none")


def test_the_recipe_as_shipped_is_that_of_the_parameters():
    params = StudyPlan(methods=[DEFAULT]).load(3)
    assert params.unlearn.model_dump(exclude={"rmu"}) == StudyPlan().load(0).unlearn.model_dump(exclude={"rmu"})


def test_another_model_or_other_parameters_are_worked_on_in_another_folder(tmp_path):
    plan = StudyPlan(work=tmp_path)
    others = [
        plan.model_copy(update={"data": "folder"}),
        plan.model_copy(update={"split": "forget10"}),
        plan.model_copy(update={"overrides": ["train.epochs=3"]}),
        plan.model_copy(update={"full": "a/model", "retain_model": "another", "seeds": [1]}),
    ]
    assert len({one.folder for one in [plan, *others]}) == 5
    assert plan.model_copy(update={"methods": ["npo"], "trials": 3, "seeds": [4]}).folder == plan.folder
