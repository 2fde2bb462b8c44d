"""Nobody's data leaves the workspace: what Prefect, MLflow, DVC and logs keep quotes nobody and names nobody.

Real runs against a real Prefect server, one that ends well and two that are refused, with something planted in every
field of requests and records and in the names of their files.
"""

import re
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from tasks.workspace import Place, Workspace
from tests.e2e.leaks import leaks, names_of_the_forgotten, texts_of_the_forgotten
from tests.e2e.planted import PLANTED, SHARD, planted_project, put_bad_corpus
from tests.e2e.prefect_server import ask, prefect_server
from unilogit.gates import GateReport

pytestmark = pytest.mark.slow
OUTSIDE = ("prefect/**/*", "logs/*", "mlflow.db*", "mlartifacts/**/*", "defects/*")
EVIDENCE = (  # of a workspace: what git, DVC's experiments and people elsewhere may see
    *(Place.DATA_POINTER, Place.METRICS, Place.GATES, Place.TRAINING, Place.LOSS_CURVES, Place.EXTRACTION),
    *(Place.REQUEST_COUNTS, Place.CORPUS_COUNTS, Place.REGISTRATION, Place.VERSION_PARAMS, Place.LOGGED_REPORT),
)


class Recorded:
    """A project after its runs, and what the Prefect server knew of them."""

    def __init__(self, folder):
        self.project = planted_project(folder)
        self.home = folder / "var"
        with prefect_server(self.home) as url:
            self.project.environment["PREFECT_API_URL"] = url
            self.whole = self.project.run("unilogit", "run")
            put_bad_corpus(self.project)
            missing = f"var/example/{SHARD}"
            self.refused = [
                self.project.run("unilogit", "run", "--set", "data.corpus=shards"),
                self.project.run("unilogit", "run", "--requests", missing),
            ]
            self.flow_runs = ask(f"{url}/flow_runs/filter", {"sort": "START_TIME_ASC"})
            self.task_runs = self.ended_task_runs(url)
            self.artifacts = ask(f"{url}/artifacts/filter", {})
            self.logs = ask(f"{url}/logs/filter", {"sort": "TIMESTAMP_ASC"})
        del self.project.environment["PREFECT_API_URL"]
        self.workspaces = [Workspace(path) for path in sorted((self.home / "runs").glob("[!.]*"))]

    @staticmethod
    def ended_task_runs(url):
        deadline = time.monotonic() + 30  # their states come to the server by themselves
        while time.monotonic() < deadline:
            runs = ask(f"{url}/task_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})
            if all(run["state_type"] in ("COMPLETED", "FAILED") for run in runs):
                return runs
            time.sleep(0.5)
        pytest.fail("task runs have no end at the server")

    def log_of(self, flow_run):
        return [entry["message"] for entry in self.logs if entry["flow_run_id"] == flow_run["id"]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return Recorded(tmp_path_factory.mktemp("planted"))


def test_a_run_in_a_terminal_is_a_flow_run_with_its_tasks_artifacts_and_log(recorded):
    assert recorded.whole.returncode == 0, recorded.whole.stdout + recorded.whole.stderr
    [workspace, _] = recorded.workspaces
    batch = workspace.root.name
    run = recorded.flow_runs[0]
    assert (run["name"], run["state_name"], run["tags"]) == (f"unlearn {batch}", "Completed", ["unilogit run"])
    assert run["state"]["message"].startswith("Passed: all ")
    assert run["parameters"] == {}
    tasks = {task["name"]: task["state_name"] for task in recorded.task_runs if task["flow_run_id"] == run["id"]}
    for step in ("validate", "extract", "retain model", "unlearn", "evaluate", "gate", "register"):
        assert tasks[f"{step} {batch}"] == "Completed"

    [gates] = [each for each in recorded.artifacts if each["key"] == "gates"]
    assert gates["data"].startswith("**Passed: all ")
    report = GateReport.model_validate_json(workspace.path(Place.GATES).read_text())
    assert all(f"| {gate.name} |" in gates["data"] for gate in report.gates)
    assert not [cell for line in gates["data"].splitlines() for cell in line.split("|") if cell.strip().startswith(">")]
    assert str(workspace.path(Place.REPORT)) in gates["data"]

    told = recorded.log_of(run)
    printed = recorded.whole.stdout
    assert f"batch {batch} opened" in printed
    for line in [line for line in printed.partition("What the models know")[0].splitlines() if line.strip()]:
        assert any(line in message for message in told), line
    assert run["state"]["message"].splitlines()[0] in told


def test_what_is_refused_says_why_in_its_state_and_at_the_end_of_its_log(recorded):
    for run, done in zip(recorded.flow_runs[1:], recorded.refused, strict=True):
        assert done.returncode == 2
        errors = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert errors == run["state"]["message"].splitlines()
        assert (run["state_name"], run["state_type"]) == ("BadInput", "FAILED")
        told = recorded.log_of(run)
        assert told[-1].startswith("Finished in state BadInput(")
        assert told[-1 - len(errors) : -1] == errors
        assert "Traceback" not in "\n".join([*told, done.stdout, done.stderr])


def test_the_search_finds_everything_where_it_is_known_to_stand(recorded):
    found = {secret for _, secret in leaks(recorded.project.folder, PLANTED, "var/example/**/*", "shards/*")}
    assert PLANTED - found <= {"odalys", "Saltmarsh"}  # which begin something longer there


def test_nothing_planted_is_a_word_that_prefect_names_runs_by():
    source = Path(find_spec("coolname.data").origin)
    words = set(re.findall(r"\w+", source.read_text().casefold()))
    assert {"marigold", "wolf"} <= words
    assert not {secret for secret in PLANTED if secret.casefold() in words}


@pytest.mark.parametrize("pattern", OUTSIDE)
def test_nothing_planted_left_the_workspace(recorded, pattern):
    if pattern == "defects/*":
        assert not list(recorded.home.glob(pattern))
        return
    assert leaks(recorded.home, PLANTED, pattern) == set()


def test_nothing_planted_is_in_what_git_and_dvc_see(recorded):
    folder = recorded.project.folder
    recorded.project.succeed("git", "init", "--quiet")
    recorded.project.succeed("unilogit", "dvc")
    evidence = [
        f"{workspace.root.relative_to(folder)}/{place}" for workspace in recorded.workspaces for place in EVIDENCE
    ]
    assert leaks(folder, PLANTED, "*.yaml", "*.toml", "dvc.lock", *evidence) == set()


def test_the_terminal_is_told_nothing_planted_either(recorded):
    printed = recorded.home / "logs" / "terminal"
    runs = [recorded.whole, *recorded.refused]
    printed.write_text("\n".join(run.stdout + run.stderr for run in runs))
    try:
        assert leaks(recorded.home, PLANTED, "logs/terminal") == set()
    finally:
        printed.unlink()


def test_nobody_of_the_batch_is_known_outside(recorded):
    secrets = texts_of_the_forgotten(recorded.workspaces[0]) | names_of_the_forgotten(recorded.workspaces[0])
    assert len(secrets) > 10
    assert leaks(recorded.home, secrets, *OUTSIDE[:-1]) == set()


def test_the_ledger_knows_whom_and_what_the_requests_name_and_no_more(recorded):
    requests = pd.read_parquet(recorded.workspaces[0].path(Place.REQUESTS))
    secrets = texts_of_the_forgotten(recorded.workspaces[0]) | names_of_the_forgotten(recorded.workspaces[0])
    named = {*requests["subject_id"].dropna(), *requests["record_ids"].explode().dropna(), *requests["text"].dropna()}
    found = {secret for _, secret in leaks(recorded.home, secrets, "ledger.db*")}
    assert named <= found
    assert found - named <= {"odalys@sample.example"}  # an alias
