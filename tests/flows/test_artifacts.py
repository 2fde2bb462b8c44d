"""What Prefect's pages show of a run: Markdown that renders, the verdict first, gates that failed before the others."""

import re

import pytest
from markdown_it import MarkdownIt

from flows.artifacts import show_verdict, verdict_markdown
from tasks.report.review import read_review
from tasks.workspace import Registration
from tests.tasks.workspaces import build, gate

REGISTERED = Registration(
    registered_model="assistant", version="3", run_id="c0ffee", alias=None, gates="failed", tags={}
)


def rendered(workspace, links=()):
    """As another program than Prefect's pages renders it."""
    text = verdict_markdown(read_review(workspace), REGISTERED, dict(links), "/runs/a/report.html")
    return MarkdownIt("commonmark").enable("table").render(text)


def cells(html):
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows]


def test_the_verdict_stands_first_then_every_gate_with_rounded_numbers_failed_ones_first(tmp_path):
    html = rendered(build(tmp_path / "batch-7"))
    assert html.startswith("<p><strong>Failed: 2 of 4 gates. This version may not be promoted.</strong></p>")
    assert "assistant version 3, batch batch-7" in html
    assert [row[:5] for row in cells(html)] == [
        ["gate", "scope", "verdict", "value", "must be"],
        ["too-strict", "utility", "failed", "0.951", "at least 0.99"],
        ["unmeasured", "forget", "failed", "–", "at most 0.05"],
        ["forgotten", "forget", "passed", "0.013", "at most 0.05"],
        ["useful", "utility", "passed", "0.888", "at least 0.8"],
    ]
    assert "must be &gt;= 0.99" in html
    assert "<blockquote>" not in html


def test_what_a_name_holds_breaks_nothing(tmp_path):
    html = rendered(build(tmp_path / "w", gates=[gate("> a|b\n# c")]))
    assert cells(html)[1][0] == "&gt; a|b # c"
    assert "<blockquote>" not in html
    assert "<h1>" not in html


def test_with_a_server_pages_are_linked_and_without_one_paths_are_named(tmp_path):
    workspace = build(tmp_path / "w")
    html = rendered(workspace, {"run": "http://127.0.0.1:5000/#/experiments/1/runs/c0ffee"}.items())
    assert '<a href="http://127.0.0.1:5000/#/experiments/1/runs/c0ffee">MLflow: run</a>' in html
    assert "<code>/runs/a/report.html</code>" in html
    assert "MLflow run <code>c0ffee</code>" in rendered(workspace)


def test_without_a_server_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # where nobody answers
    workspace = build(tmp_path / "w")
    show_verdict(read_review(workspace), REGISTERED, workspace)


@pytest.mark.parametrize(("op", "words"), [("<", "below"), ("<=", "at most"), (">", "above"), (">=", "at least")])
def test_no_cell_begins_with_a_sign_of_markdown(tmp_path, op, words):
    html = rendered(build(tmp_path / "w", gates=[gate("g", op=op)]))
    assert cells(html)[1][4].startswith(words)
