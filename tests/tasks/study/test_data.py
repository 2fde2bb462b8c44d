"""What trains, what chooses and what measures: nobody and nothing is in two of them that must not be."""

import pytest

from tasks.study.data import read_data
from tasks.study.plan import StudyPlan
from tests.evaluation.benchmarks.test_tofu import tables, write


def content(records):
    return {(record.prompt, record.response) for record in records}


@pytest.fixture(params=["example", "tofu"])
def data(request, tmp_path):
    if request.param == "example":
        overrides = ["example.people=20", "example.unseen_people=8", "evaluate.max_examples=60"]
        return read_data(StudyPlan(work=tmp_path, split="forget10", overrides=overrides))
    (tmp_path / "tofu").mkdir()
    folder = write(tmp_path / "tofu", tables(authors=20, forgotten=1))
    return read_data(StudyPlan(work=tmp_path, data=str(folder), split="forget05"))


def test_what_is_forgotten_is_all_that_the_retain_model_does_not_learn(data):
    full, retain = (content(data.suite.training[name]()) for name in ("full", "retain"))
    assert content(data.forget) == full - retain
    assert content(data.forget)
    assert not content(data.forget) & content(data.retain)


def test_what_a_choice_is_made_by_is_neither_measured_nor_retained(data):
    measured = {record for records in data.suite.sets.values() for record in content(records)}
    assert len(data.validation) > 3
    assert not content(data.validation) & measured
    assert not content(data.validation) & content(data.retain)
    assert content(data.validation) < content(data.suite.training["retain"]())


def test_nobody_is_both_steering_and_measured(data):
    steering, measured = data.steering, data.suite.sets["holdout"]
    assert abs(len(steering) - len(measured)) <= max(len(steering), len(measured)) / 2
    people = [{subject for record in part for subject in record.subject_ids} for part in (steering, measured)]
    assert not people[0] & people[1]
    assert not content(steering) & content(measured)


def test_the_same_plan_reads_the_same_data(data, tmp_path):
    overrides = ["example.people=20", "example.unseen_people=8", "evaluate.max_examples=60"]
    again = [read_data(StudyPlan(work=tmp_path / name, split="forget10", overrides=overrides)) for name in "ab"]
    assert again[0].validation == again[1].validation
    assert again[0].suite.sets == again[1].suite.sets
