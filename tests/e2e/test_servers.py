"""The way with real servers: `unilogit up`, a deployment run by a worker, the version in MLflow's own API."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import psutil
import pytest

from flows.processes import marked
from tasks.doctor import answers
from tasks.workspace import Workspace
from tests.e2e.leaks import leaks, names_of_the_forgotten, texts_of_the_forgotten
from unilogit.files import read_json

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_ports():
    return {f"UNILOGIT_{server}_PORT": str(free_port()) for server in ("PREFECT", "MLFLOW", "WEBHOOK")}


@contextmanager
def running_servers(project):
    """`unilogit up` on free ports, until it is interrupted; gives MLflow's address."""
    ports = free_ports()
    project.environment.update(ports)
    process = subprocess.Popen(
        ["unilogit", "up"], cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("Up."):
            break
    else:
        pytest.fail(f"`unilogit up` ended with code {process.wait()}")
    project.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{ports['UNILOGIT_PREFECT_PORT']}/api"
    try:
        yield f"http://127.0.0.1:{ports['UNILOGIT_MLFLOW_PORT']}"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        for name in (*ports, "PREFECT_API_URL"):
            del project.environment[name]
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0, f"port {port} is still served"


@pytest.fixture
def servers(demo):
    project, _ = demo
    with running_servers(project) as mlflow:
        ports = {name: project.environment[name] for name in ("UNILOGIT_PREFECT_PORT", "UNILOGIT_MLFLOW_PORT")}
        yield project, mlflow, ports


def wait_until(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.2)


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_a_deployment_run_takes_a_new_request_file_to_a_version_in_mlflow(servers):
    project, mlflow, _ = servers
    looked = project.run("unilogit", "doctor")
    assert looked.stdout.count(" answers") == 2
    assert "unilogit requests overdue" in looked.stdout  # those of the example are
    assert looked.returncode == 1
    corpus = [json.loads(line) for line in (project.folder / "var" / "example" / "corpus.jsonl").open()]
    project.succeed("unilogit", "requests", "add", "--subject", corpus[-1]["subject_ids"][0])
    before = len(ask(f"{mlflow}/api/2.0/mlflow/model-versions/search")["model_versions"])
    done = project.run("prefect", "deployment", "run", "unlearn/production", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr
    versions = ask(f"{mlflow}/api/2.0/mlflow/model-versions/search")["model_versions"]
    assert len(versions) == before + 1
    newest = max(versions, key=lambda version: int(version["version"]))
    tags = {tag["key"]: tag["value"] for tag in newest["tags"]}
    assert tags["gates"] == "passed"
    assert tags["requests"] == "1"
    assert "[Run](#/experiments/" in newest["description"]
    alias = f"{mlflow}/api/2.0/mlflow/registered-models/alias?name=example-assistant&alias=candidate"
    assert ask(alias)["model_version"]["version"] == newest["version"]
    batch = Workspace(max((project.folder / "var" / "runs").glob("[!.]*")))
    secrets = texts_of_the_forgotten(batch) | names_of_the_forgotten(batch)
    assert leaks(project.folder / "var", secrets, "prefect/**/*", "logs/*", "mlflow.db*", "mlartifacts/**/*") == set()


def test_late_requests_are_an_event_and_a_promotion_in_mlflow_closes_requests(servers):
    project, mlflow, _ = servers
    events = f"{project.environment['PREFECT_API_URL']}/events/filter"
    assert project.run("prefect", "deployment", "run", "unlearn/production", "--watch").returncode == 0
    wanted = {"filter": {"event": {"name": ["unilogit.requests.overdue"]}}}
    deadline = time.monotonic() + 60
    while not (found := ask(events, wanted)["events"]) and time.monotonic() < deadline:
        time.sleep(1)
    assert found, "no event although every request of the example is due since April"
    assert all(name.startswith("R-") for name in found[0]["payload"]["requests"])

    project.succeed("unilogit", "certificates", "keygen")
    alias = {"name": "example-assistant", "alias": "champion", "version": "1"}
    ask(f"{mlflow}/api/2.0/mlflow/registered-models/alias", alias)
    # Cancelled where the webhook or the schedule was faster: either way the promotion is looked at now.
    project.run("prefect", "deployment", "run", "reconcile/production", "--watch")

    def is_fulfilled():
        listed = project.succeed("unilogit", "requests", "list", "--output", "json").splitlines()
        return "fulfilled" in {json.loads(line)["state"] for line in listed}

    wait_until(is_fulfilled)
    assert "certificates, and all of them verify" in project.succeed("unilogit", "certificates", "verify")
    assert project.run("prefect", "deployment", "run", "purge/production", "--watch").returncode == 0


def kill_one(home, child):
    """Kill the first process of a child, and wait until all of its processes are new ones."""
    before = [entry.process for entry in marked(home, child=child)]
    assert 1 <= len(before) <= 2, f"{child} is more than a server and who watches it: {before}"
    before[0].kill()
    wait_until(lambda: marked(home, child=child) and not any(process.is_running() for process in before))


def test_what_dies_is_started_again_and_a_second_up_says_that_there_is_one(servers):
    project, mlflow, ports = servers
    prefect = f"http://127.0.0.1:{ports['UNILOGIT_PREFECT_PORT']}"
    second = project.run("unilogit", "up")
    assert second.returncode == 2
    assert f"it is up already: Prefect {prefect}  MLflow {mlflow}" in second.stderr
    for child in ("mlflow", "worker", "prefect", "guard"):
        kill_one(project.folder / "var", child)
    wait_until(lambda: answers(f"{mlflow}/health") and answers(f"{prefect}/api/health"))
    assert project.run("prefect", "deployment", "run", "unlearn/production", "--watch").returncode == 0


def test_when_the_terminal_dies_nothing_is_left_and_the_run_is_given_up(demo, request):
    project, _ = demo
    home = project.folder / "var"
    terminal = subprocess.Popen(
        [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", "unilogit", "up"],
        cwd=project.folder,
        env={**project.environment, **free_ports()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    request.addfinalizer(terminal.kill)
    told = next(line for line in terminal.stdout if line.startswith("In another terminal: "))
    command = told.strip().removeprefix("In another terminal: ").removesuffix(" --watch")
    subprocess.run(command, shell=True, cwd=project.folder, check=True, stdout=subprocess.DEVNULL)
    wait_until(lambda: any(entry.flow_run for entry in marked(home)))
    supervisor = psutil.Process(read_json(home / "up.json")["process"])
    terminal.kill()
    supervisor.wait(timeout=90)
    assert marked(home) == []
    with running_servers(project):
        api = project.environment["PREFECT_API_URL"]
        # Not what the schedule has begun to plan.
        begun = {"state": {"type": {"not_any_": ["SCHEDULED"]}}}
        unlearn = {"flows": {"name": {"any_": ["unlearn"]}}, "flow_runs": begun}
        [run] = ask(f"{api}/flow_runs/filter", {**unlearn, "sort": "START_TIME_DESC", "limit": 1})
        assert run["state_type"] in ("CRASHED", "COMPLETED"), run
        limits = {limit["name"]: limit["active_slots"] for limit in ask(f"{api}/v2/concurrency_limits/filter", {})}
        assert limits[f"deployment:{run['deployment_id']}"] == 0


def test_a_taken_port_is_said_at_once(demo):
    project, _ = demo
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {**project.environment, "UNILOGIT_PREFECT_PORT": str(taken.getsockname()[1])}
        start = time.monotonic()
        done = subprocess.run(
            ["unilogit", "up"], cwd=project.folder, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert "UNILOGIT_PREFECT_PORT" in done.stderr
    assert time.monotonic() - start < 30
