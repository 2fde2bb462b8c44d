"""What a person sees in MLflow's own pages of a version that was registered without a server: in a real browser."""

import json

import pytest

from docs.screenshot import open_browser
from tasks.registry.connection import client
from tasks.workspace import Place, Workspace
from tests.tasks.registry.servers import serving
from unilogit.files import read_json

pytestmark = pytest.mark.slow
PATIENCE = 120_000  # milliseconds for a page


@pytest.fixture(scope="module")
def workspace(demo):
    project, _ = demo
    return Workspace(min((project.folder / "var" / "runs").glob("[!.]*")))


@pytest.fixture(scope="module")
def page(demo):
    """The page of version 1, and the addresses that it asked for something."""
    project, _ = demo
    with serving(project.folder / "var") as uri, open_browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{uri}/#/models/example-assistant/versions/1")
        page.wait_for_selector("text=A person may promote this version.")
        yield page, asked, uri


def follow(page, name):
    """Click a link, which opens another page."""
    with page.context.expect_page() as opened:
        page.click(f"a:text-is('{name}')")
    opened.value.set_default_timeout(PATIENCE)
    return opened.value


def test_the_verdict_is_first_and_the_tables_are_tables(page, workspace):
    shown, _, _ = page
    said = shown.inner_text("body")
    count = len(read_json(workspace.path(Place.GATES))["gates"])
    verdict = said.index(f"Passed: all {count} gates.")
    assert verdict < said.index("What was asked") < said.index("parent model: var/example/model")
    assert "retain model: trained on" in said
    gates, measured = (shown.locator("table", has_text=title) for title in ("threshold", "retain model"))
    assert gates.first.locator("tbody tr").count() == count
    cells = gates.first.locator("tbody tr").first.locator("td").all_inner_texts()
    assert [cells[0].strip("\u2003\u2060 "), cells[2].strip("\u2003\u2060 ")] == ["passed", "forget"]
    assert measured.first.locator("tbody tr").count() > 5
    assert "| " not in said


def test_its_links_lead_to_run_report_and_model(page, workspace):
    shown, asked, uri = page
    report = follow(shown, "Report")
    report.frame_locator("iframe").locator("text=Unlearning report").first.wait_for()
    assert report.url.startswith(f"{uri}/#/experiments/1/runs/")
    report.close()
    run = follow(shown, "Run")
    run.wait_for_selector("text=Finished")
    assert workspace.root.name in run.inner_text("body")
    run.close()
    model = follow(shown, "Model")
    model.wait_for_selector("text=after.forget.probability")
    row = model.locator("[role=row]", has_text="after.forget.probability").first.inner_text()
    assert str(read_json(workspace.path(Place.METRICS))["after"]["forget"]["probability"])[:6] in row
    assert "forget (#" in row
    model.close()
    assert [url for url in asked if "//127.0.0.1" not in url and not url.startswith(("data:", "blob:"))] == []


def test_a_run_of_bad_input_is_seen_to_have_failed(demo):
    project, _ = demo
    corpus = [json.loads(line) for line in (project.folder / "var" / "example" / "corpus.jsonl").open()]
    [person] = next(record["subject_ids"] for record in reversed(corpus) if record["subject_ids"])
    project.succeed("unilogit", "requests", "add", "--subject", person)
    otherwise = 'model.prompt_format="Question: {prompt} Answer: {response}"'  # than the model was trained
    done = project.run("unilogit", "run", "--set", otherwise, "--set", "register.experiment=failing")
    assert done.returncode == 2, done.stdout + done.stderr
    store = client(f"sqlite:///{project.folder / 'var' / 'mlflow.db'}")
    number = store.get_experiment_by_name("failing").experiment_id
    [run] = store.search_runs([number])
    assert run.info.status == "FAILED"
    assert {item.dataset.name for item in run.inputs.dataset_inputs} == {"forget", "retain", "neighbours", "holdout"}
    assert person not in str(run.to_dictionary())
