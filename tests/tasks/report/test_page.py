"""The review page: all that a person needs, whatever was or was not measured, and no person in what is logged."""

from html.parser import HTMLParser

import pandas as pd
import pytest

from tasks.params import load_params
from tasks.report.page import write_report
from tasks.report.review import read_review
from tasks.workspace import Extraction, Metrics, Place, Training
from tests.tasks.workspaces import GATES, METRICS, PERSONAL, add_people, build, gate, varied
from unilogit.errors import InputError
from unilogit.evaluation.registry import METRICS as KNOWN
from unilogit.files import write_parquet


@pytest.fixture
def workspace(tmp_path):
    """A judged workspace; `build` makes it of other numbers."""
    return build(tmp_path / "batch-7")


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


def report(workspace, *overrides, place=Place.REPORT):
    """The page, written anew with these overrides of params.yaml."""
    write_report(workspace, read_review(workspace), load_params("params.yaml", list(overrides)))
    return Page(workspace.path(place))


def test_the_page_needs_nothing_else(workspace):
    page = report(workspace)
    assert len(page.loads) == 4
    assert all(target.startswith("data:image/png;base64,") for target in page.loads)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert "http" not in page.source


def test_the_page_shows_verdict_gates_counts_and_measurements(workspace):
    page = report(workspace)
    assert "Failed: 2 of 4 gates. This version may not be promoted." in page.text
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["forgotten"] == ["passed", "0.013", "<= 0.05", "0.037", "forget"]
    assert rows["useful"] == ["passed", "0.888", ">= 0.8", "0.088", "utility"]
    assert rows["too-strict"][1:] == ["0.951", ">= 0.99", "-0.039", "utility"]
    assert rows["too-strict"][0] == "failed: retain.probability = 0.951, but must be >= 0.99"
    assert rows["unmeasured"][1:] == ["–", "<= 0.05", "–", "forget"]
    assert "membership_inference.loss_auc is not available" in rows["unmeasured"][0]
    order = [row[0] for row in page.rows if row[0] in {gate.name for gate in GATES}]
    assert order == ["too-strict", "unmeasured", "forgotten", "useful"]
    assert rows["deletion requests"] == ["12"]
    assert rows["of them with nothing in the corpus so far"] == ["1"]
    assert rows["records to forget"] == ["34"]
    assert rows["SHA-256 of the new weights"] == ["0815" * 16]
    assert rows["method"] == ["unilogit"]
    assert rows["stop rule"] == ["stops when forgotten"]
    assert rows["optimiser steps"] == ["2"]
    assert rows["processes that shared the work"] == ["1"]
    assert ["answer probability", "0.993", "0.013", "0.021"] in page.rows
    assert ["model utility", "0.900", "0.888", "–"] in page.rows
    assert ["p-value", "–", "1.5e-07", "–"] in page.rows
    assert "batch-7" in page.text
    assert "request-0815" not in page.source


def test_the_page_says_where_the_time_of_measuring_went(workspace):
    assert "How long measuring took" not in report(workspace).text
    add_people(workspace, [["secret-ada"]])
    assert ["after", "score 1.5 s, generate 2.0 s; 450 generated tokens/s"] in report(workspace).rows


def test_settings_are_shown(workspace):
    rows = {row[0]: row[1:] for row in report(workspace, "unlearn.epochs=77").rows}
    assert rows["unlearn.epochs"] == ["77"]
    assert rows["seed"] == ["0"]


def test_all_gates_passed_is_said(tmp_path):
    workspace = build(tmp_path / "w", gates=GATES[:2])
    assert "Passed: all 2 gates. A person may promote this version." in report(workspace).text


def test_without_a_retain_model_and_with_metrics_missing(tmp_path):
    metrics = Metrics(
        before={"forget": {"probability": None}},
        after={"forget": {"probability": 0.5, "truth_ratio": None}, "model_utility": None},
        retain_model=None,
        unavailable={"model_utility": "no retain records"},
    )
    useful = gate("useful", "model_utility", ">=", 0.8, "utility")
    page = report(build(tmp_path / "w", metrics, [useful], history=[]))
    assert ["answer probability", "–", "0.500", "–"] in page.rows
    assert ["truth ratio", "–", "–", "–"] in page.rows
    assert "Not measured" in page.text
    assert page.text.count("no retain records") == 2


def test_what_a_number_leaves_out_is_told(tmp_path, workspace):
    told = "3 of 7 records are left out: no words"
    page = report(build(tmp_path / "w", varied(incomplete={"forget.rouge_l_recall": told})))
    assert f"forget.rouge_l_recall: {told}" in page.text
    assert "Measured in part" not in report(workspace).text


def test_what_looks_like_html_stays_text(tmp_path):
    evil = '<script>alert("1")</script>&<img src=http://example.org/x>'
    metrics = varied(after=METRICS.after | {evil: {evil: 0.5}}, unavailable={evil: evil})
    page = report(build(tmp_path / evil.replace("/", "_"), metrics, [gate(evil, metric=evil)]))
    assert "script" not in page.tags
    assert page.tags.count("img") == len(page.loads) == 4
    assert any(evil in row for row in page.rows)
    assert evil in page.text


def test_the_same_again_is_the_same_page(workspace):
    add_people(workspace, [["secret-ada"], ["secret-bob"], ["secret-ada", "secret-eve"]])
    report(workspace)
    files = {file: file.read_bytes() for file in workspace.root.rglob("*") if file.is_file()}
    assert {workspace.path(place) for place in (Place.PSEUDONYMS, Place.REPORT, Place.LOGGED_REPORT)} < set(files)
    report(workspace)
    assert {file: file.read_bytes() for file in workspace.root.rglob("*") if file.is_file()} == files


def test_every_kind_of_measurement_has_a_note_of_its_own(tmp_path):
    sections = {path.split(".")[0] for path in KNOWN if "." in path}
    after = {section: {"number": 0.5} for section in (*sections, "forget", "forget_all", "retain", "holdout", "poems")}
    page = report(build(tmp_path / "w", varied(after=after | {"model_utility": 0.5, "privleak": -3.5})))
    assert page.text.count("General knowledge, which nobody asked to forget") == 1  # of poems
    assert ["PrivLeak (%)", "–", "-3.500", "–"] in page.rows
    titles = ("To retain", "Poems", "Unseen people", "Membership inference", "PrivLeak (%)", "Divergence from")
    places = [page.text.index(title) for title in titles]
    assert places == sorted(places)


def test_people_are_listed_worst_first_and_a_long_list_is_folded(workspace):
    add_people(workspace, [[f"secret-{place}"] for place in range(25)], [place / 100 for place in range(25)])
    page = report(workspace)
    rows = [row for row in page.rows if row[0].startswith("S-")]
    assert sorted(row[0] for row in rows) == [f"S-{place:03}" for place in range(1, 26)]
    assert [row[3] for row in rows] == [f"{place / 100:.3f}" for place in range(24, -1, -1)]
    assert "15 more, less remembered" in page.text
    assert page.source.index("<details>") < page.source.index(rows[10][0])


def test_only_the_page_of_the_workspace_says_who_and_what(workspace):
    add_people(workspace, [["secret-ada"], ["secret-bob"], []])
    page = report(workspace)
    assert ["prompt", "Where does Odalys 1 live?"] in page.rows
    assert ["reference", "At Quenneville 1."] in page.rows
    assert ["before", "before says Odalys 1"] in page.rows
    assert ["retain model", "retain_model says Odalys 1"] in page.rows
    logged = Page(workspace.path(Place.LOGGED_REPORT))
    assert "nobody named" in logged.text
    assert [row for row in logged.rows if row[0].startswith("S-")]
    assert logged.loads == page.loads
    for personal in PERSONAL:
        assert personal not in logged.source
    assert "secret" not in page.source


def test_generations_are_logged_where_the_params_say_so(workspace):
    add_people(workspace, [["secret-ada"]])
    page = report(workspace, "register.log_generations=true")
    assert workspace.path(Place.LOGGED_REPORT).read_text() == page.source
    assert "Odalys" in page.source


def test_what_a_model_says_stays_text(workspace):
    add_people(workspace, [["secret-ada"]])
    _, file = workspace.measured("after")
    evil = "<script>alert(1)</script><img src=http://example.org/x>"
    write_parquet(file, pd.read_parquet(file).assign(generated=evil))
    page = report(workspace)
    assert ["after", evil] in page.rows
    assert "script" not in page.tags
    assert all(target.startswith("data:image/png;base64,") for target in page.loads)


@pytest.mark.parametrize("kind", [Metrics, Extraction, Training])
def test_nothing_is_written_before_the_steps_were_run(workspace, kind):
    workspace.path(kind.place).unlink()
    with pytest.raises(InputError, match=rf"{kind.place}: no such file; the step that writes it has not been run"):
        report(workspace)
    assert not workspace.has(Place.REPORT)
