"""The review as Markdown: what the page says, short enough for the registry whatever there is to say."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.report.markdown import describe_version
from tasks.report.review import Row, read_review
from tasks.workspace import Metrics
from tests.tasks.workspaces import METRICS, build, gate
from unilogit.gates import judge


@pytest.fixture
def workspace(tmp_path):
    """A judged workspace; `build` makes it of other numbers."""
    return build(tmp_path / "batch-7")


@pytest.fixture(scope="module")
def review(tmp_path_factory):
    return read_review(build(tmp_path_factory.mktemp("review")))


def test_the_description_says_what_the_page_says(workspace):
    links = {"Run": "#/run", "Report": "#/run/artifacts/report.html"}
    text = describe_version(read_review(workspace), links, {"data": "DVC hash 0815.dir"}, "look at it")
    assert text.startswith("**Failed: 2 of 4 gates. This version may not be promoted.**")
    assert "[Run](#/run) · [Report](#/run/artifacts/report.html)" in text
    assert "; data: DVC hash 0815.dir; " in text
    assert "12 deletion requests; 1 of them with nothing in the corpus so far; 0 of them held for a person's" in text
    assert "decision; 34 records to forget" in text
    assert "parent model: some/base; retain model: trained on 90 records; method: unilogit; training steps: 2;" in text
    assert "training steps: 2; epochs over the forget set: 1.5;" in text
    assert "stop rule: stops when forgotten; processes that shared the work: 1;" in text
    assert f"SHA-256 of the new weights: {read_review(workspace).training.weights_sha256}" in text
    assert "to forget: this batch, answer probability: 0.993 → 0.013" in text
    lines = text.splitlines()
    table = [line for line in lines if line.startswith(("| too-strict", "| unmeasured", "| forgotten", "| useful"))]
    assert table == [
        "| too-strict | utility | retain.probability | 0.951 | >= 0.99 | -0.039 | **failed** |",
        "| unmeasured | forget | membership_inference.loss_auc | – | <= 0.05 | – | **failed** |",
        "| forgotten | forget | forget.probability | 0.013 | <= 0.05 | 0.037 | passed |",
        "| useful | utility | model_utility | 0.888 | >= 0.8 | 0.088 | passed |",
    ]
    assert "| world facts: answer probability | – | 0.972 | – |" in lines
    assert text.endswith("**Next**: look at it")


def test_a_bar_or_a_new_line_in_a_name_does_not_break_the_table(tmp_path):
    workspace = build(tmp_path / "w", gates=[gate("a|b\nc")])
    assert r"| a\|b c | forget |" in describe_version(read_review(workspace), {}, {}, "wait")


@settings(deadline=None)
@example(gates=51, length=18, filler=39, groups=0)
@given(st.integers(1, 90), st.integers(1, 300), st.integers(0, 200), st.sampled_from([0, 9, 80]))
def test_the_description_fits_the_registry_whatever_there_is_to_say(review, gates, length, filler, groups):
    demands = [
        gate(f"{place}-".ljust(length, "x"), threshold=0.0 if place == gates - 1 else 1.0) for place in range(gates)
    ]
    values = {"before": 0.5, "after": 0.5, "retain_model": None}
    names = [f"group_{place}" for place in range(groups)]
    sections = {name: [Row(name, "probability", "answer probability", values)] for name in names}
    full = replace(review, gates=judge(demands, METRICS.model_dump()), sections=review.sections | sections)
    text = describe_version(full, {"Run": "r" * filler}, {}, "look at it")
    assert len(text) <= 5000
    assert text.startswith(f"**Failed: 1 of {gates} gates.")
    assert text.endswith("**Next**: look at it")
    shown = [line for line in text.splitlines() if line.endswith(("| passed |", "| **failed** |"))]
    told = [line for line in text.splitlines() if line.endswith("more gates are in the report.")]
    assert len(shown) + sum(int(line.split()[0]) for line in told) == gates
    assert "**failed**" in shown[0]


def test_what_was_not_measured_is_a_dash(tmp_path):
    metrics = Metrics(before={}, after={"forget": {"probability": 0.5}}, retain_model=None, unavailable={})
    text = describe_version(read_review(build(tmp_path, metrics)), {}, {}, "wait")
    assert "| forget: answer probability | – | 0.500 | – |" in text
