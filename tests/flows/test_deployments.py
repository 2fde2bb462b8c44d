"""A Prefect server of the tests' own: what `unilogit up` brings there, what it leaves alone, and what it sets right."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import yaml
from prefect.client.schemas.actions import DeploymentScheduleUpdate, DeploymentUpdate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.states import Pending, Running

from flows import health, runs, stuck
from flows.deployments import AUTOMATION
from flows.processes import end, mark, marked
from flows.runs import HEARTBEAT_EVENT, POOL, SILENCE, last_run, prefect_client
from flows.stuck import Janitor
from tasks.doctor import answers
from tests.e2e.conftest import make_project
from tests.e2e.test_servers import free_port

pytestmark = pytest.mark.slow

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def api(project):
    port = free_port()
    (project.folder / "var" / "prefect").mkdir(parents=True)
    project.environment |= {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
        "UNILOGIT_HOME": str(project.folder / "var"),
        "PREFECT_HOME": str(project.folder / "var" / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    environment = {**project.environment, **mark(project.folder, "test", "prefect")}
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with open(project.folder / "server.log", "w") as log:
        subprocess.Popen(command, cwd=project.folder, env=environment, stdout=log, stderr=log)
    api = project.environment["PREFECT_API_URL"]
    wait_until(lambda: answers(f"{api}/health"), 400)
    project.succeed("python", "-m", "flows.deployments")
    yield api
    end(entry.process for entry in marked(project.folder))


@pytest.fixture
def client(api):
    with prefect_client(api) as client:
        yield client


@pytest.fixture
def run(client):
    """A run that Prefect believes to be at work, and that takes its deployment's slot."""
    deployment = client.read_deployment_by_name("unlearn/production")
    run = client.create_flow_run_from_deployment(deployment.id)
    client.set_flow_run_state(run.id, Pending())
    client.set_flow_run_state(run.id, Running())
    yield client.read_flow_run(run.id)
    Janitor(Path("/nowhere"), print).tidy(client, timedelta(0))


def slots(client):
    return client.read_deployment_by_name("unlearn/production").global_concurrency_limit.active_slots


def process_of(run, home):
    """A process that works for a run."""
    environment = {**os.environ, **mark(home, "token", "worker"), "PREFECT__FLOW_RUN_ID": str(run.id)}
    return subprocess.Popen(SLEEPER, env=environment)


def test_everything_is_brought_there_with_a_schedule_and_described_parameters(client, project):
    declared = yaml.safe_load((project.folder / "prefect.yaml").read_text())["deployments"]
    for entry in declared:
        flow = entry["entrypoint"].rpartition(":")[2]
        deployment = client.read_deployment_by_name(f"{flow}/production")
        assert [schedule.schedule.cron for schedule in deployment.schedules] == [entry["schedules"][0]["cron"]]
        assert deployment.global_concurrency_limit.limit == 1
        properties = deployment.parameter_openapi_schema["properties"]
        assert properties
        assert all(parameter.get("description") for parameter in properties.values()), properties
    assert client.read_work_pool(POOL).type == "process"
    assert len(client.read_automations_by_name(AUTOMATION)) == 1


def test_what_an_operator_has_changed_outlives_the_next_start(client, project):
    unlearn = client.read_deployment_by_name("unlearn/production")
    weekly = DeploymentScheduleUpdate(schedule=CronSchedule(cron="0 4 * * 0", timezone="Europe/Warsaw"), active=False)
    client.update_deployment(
        unlearn.id, DeploymentUpdate(schedules=[weekly], parameters={"retry_failed": True}, tags=["night"])
    )
    reconcile = client.read_deployment_by_name("reconcile/production")
    client.pause_deployment(reconcile.id)
    purge = client.read_deployment_by_name("purge/production")
    client.update_deployment(purge.id, DeploymentUpdate(schedules=[]))
    file = project.folder / "prefect.yaml"
    before = file.read_text()
    file.write_text(
        before.replace("Unlearn what the pending", "Forget what the pending").replace("0 2 * * *", "0 1 * * *")
    )
    try:
        for _ in range(2):
            project.succeed("python", "-m", "flows.deployments")
    finally:
        file.write_text(before)
    again = client.read_deployment_by_name("unlearn/production")
    assert again.id == unlearn.id
    [schedule] = again.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone, schedule.active) == (
        "0 4 * * 0",
        "Europe/Warsaw",
        False,
    )
    assert (again.parameters, again.tags) == ({"retry_failed": True}, ["night"])
    assert again.description.startswith("Forget what")
    assert client.read_deployment_by_name("reconcile/production").paused
    assert client.read_deployment_by_name("purge/production").schedules == []
    assert len(client.read_automations_by_name(AUTOMATION)) == 1


def test_a_run_without_a_process_is_given_up_and_its_slot_is_free(client, run, tmp_path):
    assert slots(client) == 1
    said = []
    janitor = Janitor(tmp_path, said.append)
    janitor.tidy(client)
    assert client.read_flow_run(run.id).state.type is StateType.RUNNING, "it may be about to get one"
    process = process_of(run, tmp_path)
    janitor.tidy(client, timedelta(0))
    assert client.read_flow_run(run.id).state.type is StateType.RUNNING
    assert said == []
    process.kill()
    process.wait()
    janitor.tidy(client, timedelta(0))
    assert client.read_flow_run(run.id).state.type is StateType.CRASHED
    assert slots(client) == 0
    assert len(said) == 1
    assert last_run(client, "unlearn").id == run.id


def test_the_process_of_a_run_that_was_given_up_is_ended(client, run, tmp_path, monkeypatch):
    process = process_of(run, tmp_path)
    Janitor(tmp_path / "other", print).tidy(client, timedelta(0))
    assert client.read_flow_run(run.id).state.type is StateType.CRASHED
    Janitor(tmp_path, print).tidy(client)
    assert process.poll() is None, "it may be about to end"
    monkeypatch.setattr(stuck, "GRACE", timedelta(0))
    Janitor(tmp_path, print).tidy(client)
    assert not psutil.pid_exists(process.pid)


def test_a_slot_that_no_run_takes_is_freed(client, tmp_path, monkeypatch):
    limit = client.read_deployment_by_name("unlearn/production").global_concurrency_limit
    client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=1))
    janitor = Janitor(tmp_path, print)
    janitor.tidy(client)
    assert slots(client) == 1, "Prefect takes it back by itself, as a rule"
    monkeypatch.setattr(stuck, "LEASE", -1)
    janitor.tidy(client)
    assert slots(client) == 0


def test_a_run_whose_heartbeats_stop_is_marked_as_crashed_by_the_server(client, run, api):
    event = {
        "occurred": datetime.now(UTC).isoformat(),
        "event": HEARTBEAT_EVENT,
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        "id": str(run.id),
    }
    client._client.post("/events", json=[event]).raise_for_status()
    begin = time.monotonic()
    wait_until(lambda: client.read_flow_run(run.id).state.type is StateType.CRASHED, SILENCE + 90)
    assert time.monotonic() - begin > SILENCE / 2
    assert "no heartbeat" in client.read_flow_run(run.id).state.message
    assert slots(client) == 0


def test_the_doctor_says_what_is_stuck(client, run, api, tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path))
    told = {finding.subject: finding for finding in health.findings(api)}
    assert told[f"run {run.name}"].state == "Running for 0 minutes"
    monkeypatch.setattr(runs, "GRACE", timedelta(0))
    process = process_of(run, tmp_path)
    monkeypatch.setattr(runs, "SILENCE", 0)
    told = {finding.subject: finding for finding in health.findings(api)}
    assert told[f"run {run.name}"].state == "gives no sign of life"
    assert str(process.pid) in told["unilogit up"].remedy
    process.kill()
    process.wait()
    told = {finding.subject: finding for finding in health.findings(api)}
    assert (told[f"run {run.name}"].state, told[f"run {run.name}"].remedy) == (
        "has no process",
        "`unilogit up` sets it right",
    )
    assert told["worker"].state == "none is online"
    Janitor(tmp_path, print).tidy(client, timedelta(0))
    told = {finding.subject: finding for finding in health.findings(api)}
    assert told["last unlearn run"].state.startswith("Crashed: its process is gone")
    assert f"run {run.name}" not in told
