"""What an operator sees who types `prefect deployment run … --watch`: how it ended and why, and pages that are there.

Real servers and a real worker, with something planted in every field, of which none of them may keep anything.
"""

import json
import re
import urllib.request

import pytest

from tests.e2e.leaks import leaks
from tests.e2e.planted import PLANTED, planted_project, put_bad_corpus
from tests.e2e.prefect_server import ask
from tests.e2e.test_servers import running_servers

pytestmark = pytest.mark.slow
WATCH = ("prefect", "deployment", "run", "unlearn/production", "--watch")
LAST = 12  # lines that nobody has to scroll for


class Watched:
    """Three runs of the deployment: one that ends well, one with nothing to do, one that is refused."""

    def __init__(self, folder):
        self.project = planted_project(folder)
        self.project.environment["COLUMNS"] = "500"
        with running_servers(self.project) as self.mlflow:
            self.good = self.project.run(*WATCH)
            self.idle = self.project.run(*WATCH)
            put_bad_corpus(self.project)
            self.bad = self.project.run(*WATCH, "--param", f"overrides={json.dumps(['data.corpus=shards'])}")
            url = self.project.environment["PREFECT_API_URL"]
            self.flow_runs = ask(f"{url}/flow_runs/filter", {"sort": "START_TIME_ASC"})
            self.artifacts = ask(f"{url}/artifacts/filter", {})
            links = [link for one in self.artifacts for link in re.findall(r"\]\((http[^)]*)\)", one["data"])]
            self.answers = {link: self.status(link) for link in links}

    @staticmethod
    def status(link):
        with urllib.request.urlopen(link, timeout=10) as response:
            return response.status

    def state(self, name):
        [state] = [run["state"] for run in self.flow_runs if run["state_name"] == name and run["flow_id"]]
        return state


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    return Watched(tmp_path_factory.mktemp("watched"))


def end(done):
    return "\n".join((done.stdout + done.stderr).splitlines()[-LAST:])


def test_a_good_end_says_what_came_of_it(watched):
    assert watched.good.returncode == 0, watched.good.stdout + watched.good.stderr
    gates = len(watched.project.gates())
    assert f"Passed: all {gates} gates. A person may promote this version." in end(watched.good)
    assert "example-assistant version 1, candidate, batch " in end(watched.good)


def test_nothing_to_do_is_said_and_is_no_failure(watched):
    assert watched.idle.returncode == 0
    assert "no deletion request is pending; nothing was changed" in end(watched.idle)
    assert "NothingToDo" in end(watched.idle)


def test_bad_input_is_said_in_sentences_and_without_a_traceback(watched):
    assert watched.bad.returncode == 1
    assert ":1: field `response` is missing; add it or remove the line" in end(watched.bad)
    assert "the corpus is not used, as a bad line may hold somebody who is to be forgotten" in end(watched.bad)
    assert "Flow run finished in state 'BadInput'." in end(watched.bad)
    assert "Traceback" not in watched.bad.stdout + watched.bad.stderr
    assert "NoneType" not in watched.bad.stdout + watched.bad.stderr
    first = watched.state("BadInput")["message"].splitlines()[0]
    assert first.endswith(":1: field `response` is missing; add it or remove the line")


def test_artifacts_lead_to_pages_that_are_there(watched):
    keys = {each["key"] for each in watched.artifacts}
    assert keys >= {"gates", "run", "version", "report"}
    assert len(watched.answers) >= 3
    assert all(link.startswith(watched.mlflow) and status == 200 for link, status in watched.answers.items())
    [gates] = [each["data"] for each in watched.artifacts if each["key"] == "gates"]
    assert gates.count(f"]({watched.mlflow}/#/") == 3


@pytest.mark.parametrize("pattern", ["prefect/**/*", "logs/*", "mlflow.db*", "mlartifacts/**/*"])
def test_nothing_planted_left_the_workspace(watched, pattern):
    assert leaks(watched.project.folder / "var", PLANTED, pattern) == set()
