"""One review holds every number of metrics.json in reading order, and how the model came about."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.report.names import number
from tasks.report.review import flatten, read_review
from tasks.workspace import Metrics, ParentModel, Training
from tests.tasks.workspaces import METRICS, build, varied
from unilogit.evaluation.registry import METRICS as KNOWN

NAMES = st.text("abc_", min_size=1, max_size=3)
NUMBERS = st.none() | st.floats(0, 1)
MODEL = st.dictionaries(NAMES, NUMBERS | st.dictionaries(NAMES, NUMBERS, max_size=3), max_size=4)


def paths(model):
    """((section or number, metric or none), value) of all that is there."""
    return {
        ((name, lower), value)
        for name, content in model.items()
        for lower, value in (content.items() if isinstance(content, dict) else [(None, content)])
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return build(tmp_path_factory.mktemp("review"))


@settings(deadline=None, max_examples=50)
@given(MODEL, MODEL, st.none() | MODEL)
def test_every_number_is_in_one_row(workspace, before, after, retain_model):
    workspace.write(Metrics(before=before, after=after, retain_model=retain_model, unavailable={}))
    review = read_review(workspace)
    measured = {"before": before, "after": after, "retain_model": retain_model or {}}
    rows = [row for rows in review.sections.values() for row in rows]
    for role, model in measured.items():
        shown = [((row.section, row.metric), row.values[role]) for row in rows if row.values[role] is not None]
        expected = {((name, lower or name), value) for (name, lower), value in paths(model) if value is not None}
        assert sorted(shown) == sorted(expected)
    assert len({(row.section, row.metric) for row in rows}) == len(rows)
    assert all(row.section == name for name, rows in review.sections.items() for row in rows)


def test_sections_stand_in_reading_order(tmp_path):
    known = {name: {"probability": 0.5} for name in ("holdout", "poems", "retain", "forget_all", "world_facts")}
    after = {"robustness": {"relearned_probability": 0.1}, "model_utility": 0.9, **known, **METRICS.after}
    review = read_review(build(tmp_path, varied(after=after)))
    assert list(review.sections) == [
        *("forget", "forget_all", "retain", "poems", "world_facts", "holdout", "model_utility", "forget_quality"),
        "robustness",
    ]


def test_how_many_records_a_set_has_is_no_measurement_and_a_name_with_a_dot_is_one_name(tmp_path):
    review = read_review(build(tmp_path, varied(after={"a.b": {"probability": 0.5, "n": 7}})))
    assert [row.metric for row in review.sections["a.b"]] == ["probability"]
    assert review.row("a.b", "probability").values == {"before": None, "after": 0.5, "retain_model": None}
    assert review.row("a.b", "n") is review.row("nowhere", "probability") is None


def test_every_metric_there_is_has_words_for_a_name(tmp_path):
    after = {}
    for path in KNOWN:
        *section, metric = path.split(".")
        if section:
            after.setdefault(section[0], {})[metric] = 0.5
        elif metric in ("model_utility", "privleak"):
            after[metric] = 0.5
        else:
            after.setdefault("forget", {})[metric] = 0.5
    review = read_review(build(tmp_path, varied(after=after)))
    rows = [row for rows in review.sections.values() for row in rows]
    assert {row.metric for row in rows} == {path.split(".")[-1] for path in KNOWN}
    assert not [row.label for row in rows if "_" in row.label]
    robustness = [row for row in rows if row.section == "robustness"]
    assert all("probability" in row.label or "recall" in row.label for row in robustness)


def test_a_label_with_its_section_says_nothing_twice(tmp_path):
    review = read_review(build(tmp_path))
    assert review.row("forget", "probability").whole_label == "forget: answer probability"
    assert review.row("model_utility", "model_utility").whole_label == "model utility"


def test_what_was_done_to_the_model(tmp_path):
    workspace = build(tmp_path)
    changed = {"epochs": 3.25, "steps": 41, "processes": 8, "stop_rule": "stops when all is forgotten"}
    workspace.write(workspace.read(Training).model_copy(update=changed))
    changes = read_review(workspace).changes
    assert changes == {
        "parent model": "some/base",
        "retain model": "trained on 90 records",
        "method": "unilogit",
        "optimiser steps": "41",
        "weights as after step": "41",
        "passes over the forget set": "3.2",
        "stop rule": "stops when all is forgotten",
        "processes that shared the work": "8",
        "SHA-256 of the new weights": "0815" * 16,
    }
    gone_back = {"history": [{"step": 41, "kept_step": 24.0}]}
    workspace.write(workspace.read(Training).model_copy(update=gone_back))
    assert read_review(workspace).changes["weights as after step"] == "24"
    workspace.write(ParentModel(model="var/runs/7/parent/model", version="3", files_sha256="0"))
    assert read_review(workspace).changes["parent model"] == "version 3"


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3)))
def test_a_flat_mapping_can_be_built_up_again(tree):
    rebuilt = {}
    for path, value in flatten({"top": tree}).items():
        node = rebuilt
        *parents, last = path.split(".")
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    assert rebuilt == {"top": tree}


@given(st.floats(-1e9, 1e9))
def test_a_number_is_told_to_three_digits(value):
    assert abs(float(number(value)) - value) <= 0.0005 + 1e-9
    if 0 < abs(value) < 0.001:
        assert float(number(value)) != 0
        assert abs(float(number(value)) / value - 1) <= 0.05


def test_the_number_of_what_was_not_measured_is_a_dash():
    assert (number(None), number(0.0), number(1.5e-7)) == ("–", "0.000", "1.5e-07")
