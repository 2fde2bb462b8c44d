"""The review page, its Markdown and its pictures: all that a person needs, whatever was or was not measured."""

from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.plots import draw_plots
from tasks.report import Row, describe_version, read_review, write_report
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_weights, write_json, write_parquet
from unilogit.gates import GateReport, judge
from unilogit.params import Gate, load_params

PNG = b"\x89PNG\r\n\x1a\n"
AFTER = {
    "forget": {"probability": 0.013, "rouge_l_recall": 0.25, "n": 7},
    "retain": {"probability": 0.951, "rouge_l_recall": 0.96, "n": 90},
    "world_facts": {"probability": 0.972},
    "forget_quality": {"p_value": 1.5e-7, "ks_statistic": 0.2},
    "model_utility": 0.888,
}
METRICS = {
    "before": {"forget": {"probability": 0.993}, "retain": {"probability": 0.964}, "model_utility": 0.9},
    "after": AFTER,
    "golden": {"forget": {"probability": 0.021}},
    "unavailable": {},
}
HISTORY = [
    {"step": 1, "forget_loss": 2.0, "retain_loss": 0.5},
    {"step": 2, "forget_loss": 1.0, "retain_loss": 0.4},
    {"step": 2, "forget_nll": 4.0, "holdout_nll": 5.0, "retain_probability": 0.9},
]


def gate(name="forgotten", metric="forget.probability", op="<=", threshold=0.05, scope="forget"):
    return Gate(name=name, scope=scope, metric=metric, op=op, threshold=threshold)


GATES = [
    gate(),
    gate("useful", "model_utility", ">=", 0.8, "utility"),
    gate("too-strict", "retain.probability", ">=", 0.99, "utility"),
    gate("unmeasured", "membership_inference.loss_auc"),
]


@pytest.fixture
def workspace(tmp_path):
    """A judged workspace; `build` makes it of other numbers."""
    return build(tmp_path / "batch-7")


@pytest.fixture(scope="module")
def review(tmp_path_factory):
    return read_review(build(tmp_path_factory.mktemp("review")))


def build(folder, metrics=METRICS, gates=GATES, history=HISTORY, ratios=(0.5, 2.0, None)):
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    write_json(folder / "evaluation" / "metrics.json", metrics)
    write_json(
        folder / "data" / "extraction.json",
        {"requests": 12, "forget": 34, "retain": 90, "earlier": 0, "holdout": 5, "no_match": ["request-0815"]},
    )
    write_json(folder / "training.json", {"method": "unilogit", "epochs": 1.5, "history": history})
    write_json(folder / "gates.json", judge(gates, metrics).model_dump())
    if ratios is not None:
        examples = {"set": ["forget"] * len(ratios), "truth_ratio": pd.Series(ratios, dtype="float64")}
        write_parquet(folder / "evaluation" / "models" / "after.parquet", pd.DataFrame(examples))
    return folder


class Page(HTMLParser):
    """What a browser makes of a page: its tags, whatever it would load, and its text by table row."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.loads, self.text, self.rows, self.in_row = [], [], "", [], False
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        names = ("src", "srcset", "href", "data", "action", "background", "poster")
        self.loads += [value for name, value in attrs if name in names]
        if tag == "tr":
            self.rows.append([])
            self.in_row = True

    def handle_data(self, data):
        self.text += data
        if self.in_row and data.strip():
            self.rows[-1].append(data.strip())

    def handle_endtag(self, tag):
        self.in_row = self.in_row and tag != "tr"


def test_the_page_needs_nothing_else(workspace):
    page = Page(write_report(workspace, load_params("params.yaml")))
    assert len(page.loads) == 3
    assert all(target.startswith("data:image/png;base64,") for target in page.loads)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert "http" not in page.source


def test_the_page_shows_verdict_gates_counts_and_measurements(workspace):
    page = Page(write_report(workspace))
    assert "Failed: 2 of 4 gates. This version may not be promoted." in page.text
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["forgotten"] == ["forget", "0.013", "<= 0.05", "0.037", "passed"]
    assert rows["useful"] == ["utility", "0.888", ">= 0.8", "0.088", "passed"]
    assert rows["too-strict"][:4] == ["utility", "0.951", ">= 0.99", "-0.039"]
    assert rows["too-strict"][4] == "failed: retain.probability = 0.951, but must be >= 0.99"
    assert rows["unmeasured"][:4] == ["forget", "–", "<= 0.05", "–"]
    assert "membership_inference.loss_auc is not available" in rows["unmeasured"][4]
    order = [row[0] for row in page.rows if row[0] in {gate.name for gate in GATES}]
    assert order == ["too-strict", "unmeasured", "forgotten", "useful"]
    assert rows["deletion requests"] == ["12"]
    assert rows["of them with nothing in the corpus"] == ["1"]
    assert rows["records to forget"] == ["34"]
    assert rows["SHA-256 of the new weights"] == [sha256_weights(workspace / "model")]
    assert ["answer probability", "0.993", "0.013", "0.021"] in page.rows
    assert ["model utility", "0.900", "0.888", "–"] in page.rows
    assert ["p-value", "–", "1.5e-07", "–"] in page.rows
    assert "batch-7" in page.text
    assert "request-0815" not in page.source


def test_settings_are_shown_where_they_are_given(workspace):
    params = load_params("params.yaml", ["unlearn.epochs=77"])
    rows = {row[0]: row[1:] for row in Page(write_report(workspace, params)).rows}
    assert rows["unlearn.epochs"] == ["77"]
    assert rows["seed"] == ["0"]
    assert "Settings" not in Page(write_report(workspace)).text


def test_all_gates_passed_is_said(tmp_path):
    folder = build(tmp_path / "w", gates=GATES[:2])
    assert "Passed: all 2 gates. A person may promote this version." in Page(write_report(folder)).text


def test_without_golden_target_and_with_metrics_missing(tmp_path):
    metrics = {
        "before": {"forget": {"probability": None}},
        "after": {"forget": {"probability": 0.5, "truth_ratio": None}, "model_utility": None},
        "golden": None,
        "unavailable": {"model_utility": "no retain records"},
    }
    folder = build(tmp_path / "w", metrics, [gate("useful", "model_utility", ">=", 0.8, "utility")], history=[])
    page = Page(write_report(folder))
    assert ["answer probability", "–", "0.500", "–"] in page.rows
    assert ["truth ratio", "–", "–", "–"] in page.rows
    assert "Not measured" in page.text
    assert page.text.count("no retain records") == 2
    text = describe_version(read_review(folder), {}, "wait")
    assert "| forget: answer probability | – | 0.500 | – |" in text


def test_what_looks_like_html_stays_text(tmp_path):
    evil = '<script>alert("1")</script>&<img src=http://example.org/x>'
    metrics = METRICS | {"after": AFTER | {evil: {"probability": 0.5}}, "unavailable": {evil: evil}}
    folder = build(tmp_path / evil.replace("/", "_"), metrics, [gate(evil, metric=evil)])
    page = Page(write_report(folder))
    assert "script" not in page.tags
    assert page.tags.count("img") == len(page.loads) == 3
    assert any(evil in row for row in page.rows)
    assert evil in page.text


def test_the_same_again_is_the_same_page(workspace):
    first = write_report(workspace).read_bytes()
    assert write_report(workspace).read_bytes() == first


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("evaluation/metrics.json", "evaluate"),
        ("data/extraction.json", "extract"),
        ("training.json", "unlearn"),
        ("gates.json", "gate"),
    ],
)
def test_a_step_that_was_not_run_is_named(workspace, name, step):
    (workspace / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file; run `python -m tasks\.{step} --workspace"):
        write_report(workspace)
    assert not (workspace / "report.html").exists()


def test_the_description_says_what_the_page_says(workspace):
    links = {"Run": "http://127.0.0.1:5000/#/run", "Report": "/somewhere/report.html"}
    text = describe_version(read_review(workspace), links, "look at it")
    assert text.startswith("**Failed: 2 of 4 gates. This version may not be promoted.**")
    assert "[Run](http://127.0.0.1:5000/#/run) · Report: `/somewhere/report.html`" in text
    assert "12 deletion requests; 1 of them with nothing in the corpus; 34 records to forget" in text
    assert "unilogit, 2 steps (1.5 epochs); to forget: this batch, answer probability 0.993 → 0.013" in text
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


def test_a_bar_in_a_name_does_not_break_the_table(tmp_path):
    folder = build(tmp_path / "w", gates=[gate("a|b")])
    assert r"| a\|b | forget |" in describe_version(read_review(folder), {}, "wait")


@settings(deadline=None)
@example(gates=51, length=18, filler=39, groups=0)
@given(st.integers(1, 90), st.integers(1, 300), st.integers(0, 200), st.sampled_from([0, 9, 80]))
def test_the_description_fits_the_registry_whatever_there_is_to_say(review, gates, length, filler, groups):
    many = [
        gate(f"{place}-".ljust(length, "x"), threshold=0.0 if place == gates - 1 else 1.0) for place in range(gates)
    ]
    sections = {f"group_{place}": [Row("answer probability", 0.5, 0.5, None)] for place in range(groups)}
    full = replace(review, gates=judge(many, METRICS), sections=review.sections | sections)
    text = describe_version(full, {"Run": "r" * filler}, "look at it")
    assert len(text) <= 5000
    assert text.startswith(f"**Failed: 1 of {gates} gates.")
    assert text.endswith("**Next**: look at it")
    shown = [line for line in text.splitlines() if line.endswith(("| passed |", "| **failed** |"))]
    told = [line for line in text.splitlines() if line.endswith("more gates are in the report.")]
    assert len(shown) + sum(int(line.split()[0]) for line in told) == gates
    assert "**failed**" in shown[0]


def test_pictures_are_drawn_of_what_there_is(workspace):
    files = draw_plots(workspace)
    assert [file.name for file in files] == ["metrics.png", "training.png", "truth_ratio.png"]
    assert all(file.read_bytes().startswith(PNG) for file in files)
    assert sorted((workspace / "plots").iterdir()) == sorted(files)


@pytest.mark.parametrize("history", [[], [{"epoch": 1.0, "forget_loss": 2.0}], [{"step": 1, "forget_loss": None}]])
@pytest.mark.parametrize("ratios", [None, [None, None], [0.0]])
@pytest.mark.parametrize("after", [{"model_utility": 0.5}, {"forget": {"probability": None, "n": 7}}])
def test_no_picture_without_numbers_not_even_an_old_one(tmp_path, history, ratios, after):
    folder = build(tmp_path, {"before": {}, "after": after, "golden": None}, history=history, ratios=ratios)
    (folder / "plots").mkdir()
    for name in ("metrics", "training", "truth_ratio"):
        (folder / "plots" / f"{name}.png").write_bytes(PNG)
    assert draw_plots(folder) == list((folder / "plots").iterdir()) == []


def test_a_set_without_numbers_among_others_is_no_trouble(tmp_path):
    after = AFTER | {"poems": {"probability": None, "rouge_l_recall": None}}
    folder = build(tmp_path, METRICS | {"after": after, "golden": None}, history=[], ratios=[1e-12, 9e9])
    assert [file.stem for file in draw_plots(folder)] == ["metrics", "truth_ratio"]


def test_gates_of_the_page_are_those_of_the_file(workspace):
    assert read_review(workspace).gates == GateReport.model_validate(read_json(workspace / "gates.json"))
