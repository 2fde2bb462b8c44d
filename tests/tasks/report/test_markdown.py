"""The review as Markdown: what the page says, short enough for the registry whatever there is to say."""

import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.report.markdown import describe_version
from tasks.report.review import Row, read_review
from tasks.workspace import Metrics
from tests.tasks.workspaces import METRICS, build, gate, varied
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
    assert "\n- data: DVC hash 0815.dir\n" in text
    assert "12 deletion requests; 1 of them with nothing in the corpus so far; 0 of them held for a person's" in text
    assert "decision; 34 records to forget" in text
    for name, value in read_review(workspace).changes.items():
        assert f"\n- {name}: {value}\n" in text
    assert "\n- parent model: some/base\n- retain model: trained on 90 records\n- method: unilogit\n" in text
    assert f"SHA-256 of the new weights: {read_review(workspace).training.weights_sha256}" in text
    assert "to forget: this batch, answer probability: 0.993 → 0.013" in text
    lines = plain(text).splitlines()
    assert [line for line in lines if line.startswith(("| passed", "| **failed**"))] == [
        "| **failed** | too-strict | utility | 0.951 | >= 0.99 |",
        "| **failed** | unmeasured | forget | – | <= 0.05 |",
        "| passed | forgotten | forget | 0.013 | <= 0.05 |",
        "| passed | useful | utility | 0.888 | >= 0.8 |",
    ]
    assert "| world facts: answer probability | – | 0.972 | – |" in lines
    assert text.endswith("**Next**: look at it")


def test_a_bar_or_a_new_line_in_a_name_does_not_break_the_table(tmp_path):
    workspace = build(tmp_path / "w", gates=[gate("a|b\nc")])
    assert r"| a\|b c | forget |" in plain(describe_version(read_review(workspace), {}, {}, "wait"))


def plain(text):
    """As it reads, without what keeps cells apart."""
    return re.sub("\u2003\u2060", "", text)


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
    shown = [line for line in plain(text).splitlines() if line.startswith(("| passed |", "| **failed** |"))]
    told = [line for line in text.splitlines() if line.endswith("more gates are in the report.")]
    assert len(shown) + sum(int(line.split()[0]) for line in told) == gates
    assert "**failed**" in shown[0]
    measured = plain(text).partition("| measured | before | after | retain model |\n")[2].splitlines()
    rows = [line for line in measured[1:] if line.startswith("|")]
    left_out = re.findall(r"^(\d+) more measurements are in the report\.$", text, re.MULTILINE)
    assert len(rows) + sum(map(int, left_out)) == sum(map(len, full.sections.values()))


def test_what_was_not_measured_is_a_dash(tmp_path):
    metrics = Metrics(before={}, after={"forget": {"probability": 0.5}}, retain_model=None, unavailable={})
    text = describe_version(read_review(build(tmp_path, metrics)), {}, {}, "wait")
    assert "| forget: answer probability | – | 0.500 | – |" in plain(text)


def test_what_measurements_leave_out_is_mentioned(tmp_path, workspace):
    told = {"forget.rouge_l_recall": "3 of 7 records are left out", "forget.truth_ratio": "1 of 7 is"}
    review = read_review(build(tmp_path / "w", varied(incomplete=told)))
    sentence = "numbers; the report says what they leave out, and why."
    assert f"Measured in part: 2 {sentence}" in describe_version(review, {}, {}, "wait")
    assert sentence not in describe_version(read_review(workspace), {}, {}, "wait")
