"""An operator's day with real servers and a real browser: a file in the inbox, a schedule, two clicks in MLflow.

UNILOGIT_SCREENSHOTS names a folder in which the pictures are kept.
"""

import json
import os
import time
from pathlib import Path

import pytest

from docs.screenshot import open_browser
from tests.e2e.conftest import make_project
from tests.e2e.quick import QUICK, pass_all_gates
from tests.e2e.test_servers import ask, running_servers, wait_until
from unilogit.files import write_text

pytestmark = pytest.mark.slow
NAME = "example-assistant"
MINUTE = 60  # within which a click must have its effect
SCHEDULED = 600  # seconds for a schedule of every minute, and the batch that it starts
REFUSED = "unilogit.champion.refused"


@pytest.fixture
def project(tmp_path):
    """One with a small model, an empty inbox, a key for certificates, and a schedule of every minute."""
    project = make_project(tmp_path)
    project.change_params(**QUICK)
    pass_all_gates(project)
    for step in ("example", "train"):
        project.succeed("python", "-m", f"tasks.steps.{step}", "--workspace", "var/example")
    (tmp_path / "inbox").mkdir()
    project.change_params(data={"requests": "inbox"})
    deployments = tmp_path / "prefect.yaml"
    text = deployments.read_text()
    assert '- cron: "0 2 * * *"' in text
    deployments.write_text(text.replace('- cron: "0 2 * * *"', '- cron: "* * * * *"'))
    project.succeed("unilogit", "certificates", "keygen")
    return project


def file_request(project, number):
    """Drop a request about the person with this number into the inbox."""
    corpus = [json.loads(line) for line in (project.folder / "var" / "example" / "corpus.jsonl").open()]
    people = sorted({person for record in corpus for person in record["subject_ids"]})
    row = {"request_id": f"R-{number}", "received_at": "2026-11-01T12:00:00Z", "subject_id": people[number]}
    write_text(project.folder / "inbox" / f"requests-{number}.jsonl", f"{json.dumps(row)}\n")


def states(project):
    listed = project.succeed("unilogit", "requests", "list", "--output", "json").splitlines()
    return {row["reference"]: row["state"] for row in map(json.loads, listed)}


def wait_for_version(project, mlflow, number):
    """The tags of a version, once its batch has ended."""

    def find():
        found = ask(f"{mlflow}/api/2.0/mlflow/model-versions/search").get("model_versions", [])
        return [version for version in found if version["version"] == str(number)]

    wait_until(find, SCHEDULED)
    wait_until(lambda: states(project)[f"R-{number}"] in ("awaiting_promotion", "failed"), SCHEDULED)
    return {tag["key"]: tag["value"] for tag in find()[0]["tags"]}


def champion(mlflow):
    model = ask(f"{mlflow}/api/2.0/mlflow/registered-models/get?name={NAME}")["registered_model"]
    return {alias["alias"]: alias["version"] for alias in model.get("aliases", [])}.get("champion")


def click_champion(page, mlflow, version):
    """Give a version the alias champion as a person does; when it was done (monotonic seconds)."""
    page.goto(f"{mlflow}/#/models/{NAME}/versions/{version}")
    page.locator("button[data-component-id*=modelversionviewaliaseditor]").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input").last.fill("champion")
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Save aliases").click()
    dialog.wait_for(state="hidden")
    return time.monotonic()


def test_a_request_is_fulfilled_and_a_failed_champion_is_put_back(project, tmp_path):
    pictures = Path(os.environ.get("UNILOGIT_SCREENSHOTS") or tmp_path)
    with running_servers(project) as mlflow, open_browser() as browser:
        prefect = project.environment["PREFECT_API_URL"].removesuffix("/api")
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        file_request(project, 1)
        assert wait_for_version(project, mlflow, 1)["gates"] == "passed"

        clicked = click_champion(page, mlflow, 1)
        wait_until(lambda: states(project)["R-1"] == "fulfilled", MINUTE)
        certificate = project.folder / "var" / "certificates" / "R-1.json"
        wait_until(certificate.is_file, MINUTE)
        seconds = time.monotonic() - clicked
        assert seconds < MINUTE, seconds
        assert "R-1.json: it verifies" in project.succeed("unilogit", "certificates", "verify")
        page.reload()
        page.get_by_text("approved_by").first.wait_for()
        page.screenshot(path=pictures / "promoted.png")

        project.change_gate("forget-probability", -1)  # which no model passes
        file_request(project, 2)
        assert wait_for_version(project, mlflow, 2)["gates"] == "failed"
        clicked = click_champion(page, mlflow, 2)
        wait_until(lambda: champion(mlflow) == "1", MINUTE)
        put_back = time.monotonic() - clicked
        assert put_back < MINUTE, put_back
        wanted = {"filter": {"event": {"name": [REFUSED]}}}
        wait_until(lambda: ask(f"{prefect}/api/events/filter", wanted)["events"], MINUTE)
        [event] = ask(f"{prefect}/api/events/filter", wanted)["events"]
        assert (event["payload"]["version"], event["payload"]["champion"]) == ("2", "1")
        assert states(project) == {"R-1": "fulfilled", "R-2": "failed"}
        page.reload()
        page.get_by_text("promotion_refused").first.wait_for()
        page.screenshot(path=pictures / "refused.png")
        page.goto(f"{prefect}/events")
        page.get_by_text("Champion refused", exact=False).first.wait_for()
        page.screenshot(path=pictures / "event.png")
        print(f"fulfilled {seconds:.1f} s after the click, put back after {put_back:.1f} s")
