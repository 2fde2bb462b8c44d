"""The review page: all that a person needs, whatever was or was not measured, and no person in what is logged."""

from html.parser import HTMLParser

import pandas as pd
import pytest

from tasks.report import logged_report, read_review, write_report
from tests.tasks.workspaces import AFTER, GATES, METRICS, add_people, build, gate
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_weights, write_json, write_parquet
from unilogit.gates import GateReport
from unilogit.params import load_params


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


def test_the_page_needs_nothing_else(workspace):
    page = Page(write_report(workspace, load_params("params.yaml")))
    assert len(page.loads) == 4
    assert all(target.startswith("data:image/png;base64,") for target in page.loads)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert "http" not in page.source


def test_the_page_shows_verdict_gates_counts_and_measurements(workspace):
    page = Page(write_report(workspace))
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
    assert rows["of them with nothing in the corpus"] == ["1"]
    assert rows["records to forget"] == ["34"]
    assert rows["SHA-256 of the new weights"] == [sha256_weights(workspace / "model")]
    assert ["answer probability", "0.993", "0.013", "0.021"] in page.rows
    assert ["model utility", "0.900", "0.888", "–"] in page.rows
    assert ["p-value", "–", "1.5e-07", "–"] in page.rows
    assert "batch-7" in page.text
    assert "request-0815" not in page.source


def test_the_page_says_where_the_time_of_measuring_went(workspace):
    cost = {"seconds": {"score responses": 1.5, "generate": 2.0}, "generated_tokens": 900}
    write_json(workspace / "evaluation" / "models" / "after.json", cost)
    page = Page(write_report(workspace))
    assert ["after", "score responses 1.5 s, generate 2.0 s; 450 generated tokens/s"] in page.rows


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


def test_what_looks_like_html_stays_text(tmp_path):
    evil = '<script>alert("1")</script>&<img src=http://example.org/x>'
    metrics = METRICS | {"after": AFTER | {evil: {"probability": 0.5}}, "unavailable": {evil: evil}}
    folder = build(tmp_path / evil.replace("/", "_"), metrics, [gate(evil, metric=evil)])
    page = Page(write_report(folder))
    assert "script" not in page.tags
    assert page.tags.count("img") == len(page.loads) == 4
    assert any(evil in row for row in page.rows)
    assert evil in page.text


def test_the_same_again_is_the_same_page(workspace):
    add_people(workspace, [["secret-ada"], ["secret-bob"], ["secret-ada", "secret-eve"]])
    write_report(workspace)
    files = {file: file.read_bytes() for file in workspace.rglob("*") if file.is_file()}
    assert {workspace / "subjects.json", logged_report(workspace)} < set(files)
    write_report(workspace)
    assert {file: file.read_bytes() for file in workspace.rglob("*") if file.is_file()} == files


def test_every_metric_has_a_name_and_every_section_a_note(tmp_path):
    after = {
        "forget": {"probability": 0.1, "exact_memorisation": 0.12, "extraction_strength": 0.13},
        "membership_inference": {"min_k_plus_plus_auc": 0.51, "gradient_norm_auc": 0.52, "reference_auc": 0.53},
        "golden_divergence": {"kl_golden_to_model": 0.25},
        "privleak": -3.5,
    }
    page = Page(write_report(build(tmp_path / "w", METRICS | {"after": after})))
    rows = {row[0]: row[2] for row in page.rows if len(row) == 4}
    assert rows["exact memorisation"] == "0.120"
    assert rows["extraction strength"] == "0.130"
    assert rows["Min-K%++ attack AUC"] == "0.510"
    assert rows["gradient-norm attack AUC"] == "0.520"
    assert rows["reference-model attack AUC"] == "0.530"
    assert rows["KL(golden ‖ model), nats per token"] == "0.250"
    assert rows["PrivLeak (%)"] == "-3.500"
    assert page.text.index("Membership inference") < page.text.index("PrivLeak (%)")
    assert page.text.index("PrivLeak (%)") < page.text.index("Divergence from the golden target")


def test_people_are_listed_worst_first_and_a_long_list_is_folded(workspace):
    add_people(workspace, [[f"secret-{place}"] for place in range(25)], [place / 100 for place in range(25)])
    page = Page(write_report(workspace))
    rows = [row for row in page.rows if row[0].startswith("S-")]
    assert sorted(row[0] for row in rows) == [f"S-{place:03}" for place in range(1, 26)]
    assert [row[3] for row in rows] == [f"{place / 100:.3f}" for place in range(24, -1, -1)]
    assert "15 more, less remembered" in page.text
    assert page.source.index("<details>") < page.source.index(rows[10][0])


def test_only_the_page_of_the_workspace_says_who_and_what(workspace):
    add_people(workspace, [["secret-ada"], ["secret-bob"], []])
    page = Page(write_report(workspace, load_params("params.yaml")))
    assert ["prompt", "Where does Odalys 1 live?"] in page.rows
    assert ["reference", "At Quenneville 1."] in page.rows
    assert ["before", "before says Odalys 1"] in page.rows
    assert ["golden target", "golden says Odalys 1"] in page.rows
    logged = Page(logged_report(workspace))
    assert "nobody named" in logged.text
    assert [row for row in logged.rows if row[0].startswith("S-")]
    assert logged.loads == page.loads
    for personal in ("secret", "Odalys", "Quenneville", "record-"):
        assert personal not in logged.source
    assert "secret" not in page.source


def test_generations_are_logged_where_the_params_say_so(workspace):
    add_people(workspace, [["secret-ada"]])
    report = write_report(workspace, load_params("params.yaml", ["register.log_generations=true"]))
    assert logged_report(workspace).read_bytes() == report.read_bytes()
    assert b"Odalys" in report.read_bytes()


def test_what_a_model_says_stays_text(workspace):
    add_people(workspace, [["secret-ada"]])
    file = workspace / "evaluation" / "models" / "after.parquet"
    evil = "<script>alert(1)</script><img src=http://example.org/x>"
    write_parquet(file, pd.read_parquet(file).assign(generated=evil))
    page = Page(write_report(workspace))
    assert ["after", evil] in page.rows
    assert "script" not in page.tags
    assert all(target.startswith("data:image/png;base64,") for target in page.loads)


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


def test_gates_of_the_page_are_those_of_the_file(workspace):
    assert read_review(workspace).gates == GateReport.model_validate(read_json(workspace / "gates.json"))
