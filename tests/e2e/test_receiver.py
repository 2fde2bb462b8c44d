"""The receiver between an MLflow and a Prefect server: a click on champion becomes a run of reconcile/production."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.e2e.test_servers import ask, free_port

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]


class Servers:
    """MLflow, Prefect and the receiver, each a process on a port of its own."""

    def __init__(self, folder):
        self.folder, self.processes = folder, {}
        self.ports = {name: free_port() for name in ("mlflow", "prefect", "receiver")}
        self.mlflow, self.prefect = (f"http://127.0.0.1:{self.ports[name]}" for name in ("mlflow", "prefect"))
        self.environment = {
            **os.environ,
            "UNILOGIT_HOME": str(folder),
            "UNILOGIT_WEBHOOK_PORT": str(self.ports["receiver"]),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"{self.prefect}/api",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "MLFLOW_WEBHOOK_CACHE_TTL": "1",
        }
        self.commands = {
            "mlflow": ["bash", "mlflow/serve.sh", "127.0.0.1", str(self.ports["mlflow"]), str(folder)],
            "prefect": ["prefect", "server", "start", "--port", str(self.ports["prefect"])],
            "receiver": [sys.executable, "-m", "flows.receiver"],
        }

    def start(self, name):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, name):
        """End it; its exit code, which says whether it had to be killed."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGTERM)
        try:
            return process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def runs(self):
        """Of the deployment."""
        return [run for run in ask(f"{self.prefect}/api/flow_runs/filter", {}) if run["deployment_id"]]


def wait(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return result
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail(f"not within {seconds} s")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    servers = Servers(tmp_path_factory.mktemp("servers"))
    try:
        servers.start("mlflow")
        servers.start("prefect")
        wait(lambda: urllib.request.urlopen(f"{servers.mlflow}/health"))
        wait(lambda: ask(f"{servers.prefect}/api/health"))
        flow = wait(lambda: ask(f"{servers.prefect}/api/flows/", {"name": "reconcile"}))  # 503 while it is starting
        wait(lambda: ask(f"{servers.prefect}/api/deployments/", {"name": "production", "flow_id": flow["id"]}))
        yield servers
    finally:
        for name in reversed(list(servers.processes)):
            servers.stop(name)


def test_a_champion_that_may_not_be_is_put_back_with_an_event(servers):
    registry, name = f"{servers.mlflow}/api/2.0/mlflow", "example-assistant"
    ask(f"{registry}/registered-models/create", {"name": name})
    tags = [{"key": "gates", "value": "failed"}, {"key": "batch_id", "value": "batch-1"}]
    ask(f"{registry}/model-versions/create", {"name": name, "source": "s3://bucket/model", "tags": tags})
    ask(f"{registry}/registered-models/alias", {"name": name, "alias": "champion", "version": "1"})
    flow = "from flows.reconcile import reconcile; print(reconcile(return_state=True).name)"
    done = subprocess.run(
        [sys.executable, "-c", flow],
        cwd=REPOSITORY,
        env=servers.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith("ChampionRefused"), done.stderr
    assert not ask(f"{registry}/registered-models/get?name={name}")["registered_model"].get("aliases")
    version = ask(f"{registry}/model-versions/get?name={name}&version=1")["model_version"]
    told = {tag["key"]: tag["value"] for tag in version["tags"]}["promotion_refused"]
    assert told.startswith("it did not pass its gates")
    wanted = {"filter": {"event": {"name": ["unilogit.champion.refused"]}}}
    [event] = wait(lambda: ask(f"{servers.prefect}/api/events/filter", wanted)["events"])
    assert event["payload"] == {"version": "1", "reasons": told.split("; "), "champion": None}
    assert event["resource"]["prefect.resource.id"] == f"unilogit.model.{name}"


def test_a_click_becomes_a_run_at_once_and_a_burst_becomes_one(servers):
    registry = f"{servers.mlflow}/api/2.0/mlflow"

    def click(version, alias="champion"):
        ask(f"{registry}/registered-models/alias", {"name": "assistant", "alias": alias, "version": str(version)})

    ask(f"{registry}/registered-models/create", {"name": "assistant"})
    for _ in range(2):
        ask(f"{registry}/model-versions/create", {"name": "assistant", "source": "s3://bucket/model"})
    for times in (1, 2):  # started twice, it has one webhook
        servers.start("receiver")
        wait(lambda: urllib.request.urlopen(f"http://127.0.0.1:{servers.ports['receiver']}/health"))
        wait(lambda times=times: servers.log("receiver").count("webhook unilogit-reconcile") == times)
        if times == 1:
            assert servers.stop("receiver") in (0, -signal.SIGTERM)
    assert len(ask(f"{registry}/webhooks")["webhooks"]) == 1
    time.sleep(1.5)  # MLflow asks for its webhooks once a second here

    click(1, "candidate")
    start = time.monotonic()
    for version in (1, 2, 1, 2):
        click(version)
    [run] = wait(servers.runs, 30)
    print(f"a run {time.monotonic() - start:.1f} s after the click")
    time.sleep(5)
    assert len(servers.runs()) == 1, "a burst is one run, and other aliases are none"

    # While Prefect does not answer, the receiver complains and tries again.
    ask(f"{servers.prefect}/api/flow_runs/{run['id']}/set_state", {"state": {"type": "COMPLETED"}, "force": True})
    servers.stop("prefect")
    time.sleep(3)
    click(1)
    wait(lambda: "was not run" in servers.log("receiver"))
    servers.start("prefect")
    wait(lambda: len(servers.runs()) == 2)
