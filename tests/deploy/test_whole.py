"""What deploy/compose.yaml starts, as processes of this machine: PostgreSQL, S3, both servers with passwords, TLS.

A batch goes the whole way through it, from request to purge.
"""

import json
import os
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager

import boto3
import psycopg
import pytest
import requests

from tests.deploy.processes import Deployment
from tests.deploy.servers import free_port, running, running_database
from tests.deploy.settings import DEPLOY, make_credentials
from tests.e2e.conftest import make_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("caddy") is None, reason="needs Debian's package caddy, which gives the TLS"),
]


class Whole:
    """The deployment while it runs: the project whose commands run as the worker's, and how its parts are reached."""

    def __init__(self, folder, database, settings):
        self.project = make_project(folder / "project", with_code=True)
        shutil.copytree(DEPLOY, self.project.folder / "deploy")
        (self.project.folder / ".dvc" / "config.local").write_text((DEPLOY / "dvc.config").read_text())
        self.folder, self.database, self.settings = folder, database, settings
        self.deployment = Deployment(folder, self.project.folder, database, settings)
        self.project.environment = self.deployment.environment("worker") | {"COLUMNS": "100", "OMP_NUM_THREADS": "1"}

    def bucket(self, name):
        """What a bucket holds: name → content."""
        client = boto3.client(
            "s3",
            endpoint_url=self.deployment.address("8333"),
            region_name="us-east-1",
            aws_access_key_id=name,
            aws_secret_access_key=self.settings[f"{name.upper()}_STORE_PASSWORD"],
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: client.get_object(Bucket=name, Key=key)["Body"].read() for key in keys}

    def query(self, database, statement):
        with psycopg.connect(
            host="127.0.0.1",
            port=self.database,
            user=database,
            dbname=database,
            password=self.settings[f"{database.upper()}_DATABASE_PASSWORD"],
        ) as connection:
            return connection.execute(statement).fetchall()


@contextmanager
def running_proxy(whole):
    """Caddy, with deploy/Caddyfile; gives the folder of its own authority."""
    data = whole.folder / "caddy"
    addresses = {name: whole.deployment.address(port) for name, port in (("PREFECT", "4200"), ("MLFLOW", "5000"))}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(data),
        "XDG_DATA_HOME": str(data),
        "TLS": "internal",
        **{f"{name}_HOST": whole.settings[f"{name}_HOST"] for name in addresses},
        **{f"{name}_ADDRESS": address.removeprefix("http://") for name, address in addresses.items()},
    }
    command = ["caddy", "run", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile"]
    root, log = data / "caddy" / "pki" / "authorities" / "local" / "root.crt", whole.folder / "proxy.log"
    with running(command, environment, log) as process:
        deadline = time.monotonic() + 60
        while not root.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield root


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    settings = make_credentials(folder / ".env")
    settings |= {f"{name}_HOST": f"localhost:{free_port()}" for name in ("PREFECT", "MLFLOW")}
    with ExitStack() as stack:
        database = stack.enter_context(running_database(settings["POSTGRES_PASSWORD"]))
        whole = Whole(folder, database, settings)
        whole.deployment.finish("databases")
        for name in ("store", "prefect", "mlflow"):
            stack.enter_context(whole.deployment.up(name))
        whole.deployment.finish("deployments")
        for name in ("receiver", "worker"):
            stack.enter_context(whole.deployment.up(name))
        whole.root = stack.enter_context(running_proxy(whole))
        yield whole


@pytest.fixture(scope="module")
def batch(whole):
    """A batch has been run; what the run printed."""
    return whole.project.succeed("unilogit", "demo")


def url(whole, name):
    return f"https://{whole.settings[f'{name}_HOST']}"


def login(whole, name):
    if name == "PREFECT":
        return tuple(whole.settings["PREFECT_API_AUTH_STRING"].split(":"))
    return whole.settings["MLFLOW_TRACKING_USERNAME"], whole.settings["MLFLOW_TRACKING_PASSWORD"]


def test_people_reach_both_servers_by_tls_and_with_a_password(whole):
    session = requests.Session()
    session.trust_env, session.verify = False, str(whole.root)
    paths = {"PREFECT": "/api/flows/filter", "MLFLOW": "/api/2.0/mlflow/experiments/search"}
    for name, path in paths.items():
        body = {"max_results": 5} if name == "MLFLOW" else {}
        page = {"Origin": url(whole, name)}  # as a browser says of a page of the server's own
        assert session.post(url(whole, name) + path, json=body, headers=page).status_code == 401
        answer = session.post(url(whole, name) + path, json=body, headers=page, auth=login(whole, name))
        assert answer.status_code == 200, answer.text
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url(whole, name), timeout=10)
    stranger = {"Origin": "https://elsewhere.example.org"}
    answer = session.post(
        url(whole, "MLFLOW") + paths["MLFLOW"], json={"max_results": 5}, headers=stranger, auth=login(whole, "MLFLOW")
    )
    assert answer.status_code == 403
    unused = session.get(f"{url(whole, 'MLFLOW')}/ajax-api/3.0/mlflow/assistant/config", auth=login(whole, "MLFLOW"))
    assert unused.status_code == 404
    assert "<html" in session.get(url(whole, "PREFECT"), headers={"Accept": "text/html"}).text


def test_clients_of_both_servers_know_the_proxys_authority(whole):
    environment = whole.project.environment | {
        "PREFECT_API_URL": f"{url(whole, 'PREFECT')}/api",
        "PREFECT_API_SSL_CERT_FILE": str(whole.root),
        "MLFLOW_TRACKING_URI": url(whole, "MLFLOW"),
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(whole.root),
    }
    for command in (["prefect", "deployment", "ls"], ["mlflow", "experiments", "search"]):
        done = subprocess.run(
            command, cwd=whole.project.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "Default" in done.stdout


def test_a_batch_leaves_everything_where_it_belongs(whole, batch):
    assert "version 1" in batch
    artifacts, data = whole.bucket("mlflow"), whole.bucket("dvc")
    assert any(name.endswith("model.safetensors") for name in artifacts)
    assert {name.split("/")[0] for name in data} == {"files"}
    home = whole.folder / "var" / "lib" / "unilogit"
    assert not (home / "mlartifacts").exists()
    assert not (home / "mlflow.db").exists()
    assert not (home / "ledger.db").exists()
    assert whole.query("ledger", "SELECT count(*) FROM ledger_requests")[0][0] > 0
    assert whole.query("mlflow", "SELECT name FROM registered_models") == [("example-assistant",)]


def test_the_worker_runs_a_deployment(whole, batch):
    corpus = (whole.project.folder / "var" / "example" / "corpus.jsonl").read_text().splitlines()
    subject = json.loads(corpus[-1])["subject_ids"] or json.loads(corpus[0])["subject_ids"]
    whole.project.succeed("unilogit", "requests", "add", "--subject", subject[0])
    done = whole.project.run("prefect", "deployment", "run", "unlearn/production", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr + (whole.folder / "worker.log").read_text()[-3000:]
    assert whole.query("mlflow", "SELECT max(version) FROM model_versions") == [(2,)]


def test_a_purge_reaches_the_store(whole, batch):
    before = whole.bucket("dvc")
    whole.project.succeed("unilogit", "certificates", "keygen")
    whole.project.succeed("unilogit", "models", "promote", "example-assistant", "1")
    whole.project.succeed("unilogit", "reconcile")
    whole.project.succeed("unilogit", "purge", "--set", "requests.keep_days=0")
    after = whole.bucket("dvc")
    assert len(after) < len(before)
