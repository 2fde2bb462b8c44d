"""Where MLflow's stores are, whether they answer, and experiments that are made once."""

import os
import signal
import socket
import subprocess
import sys
import time

import mlflow
import pytest

from tasks.registry.connection import client, connect, experiment_id, tracking_uri
from tests.tasks.registry.servers import answering, free_port, serving
from unilogit.errors import InputError, TemporaryError


def test_the_store_is_in_the_home_unless_the_environment_names_another(home, monkeypatch):
    assert tracking_uri() == f"sqlite:///{home}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == "http://127.0.0.1:5000"
    with answering() as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        assert client().tracking_uri == server.address
    assert server.paths == ["/health"]


def test_a_server_that_is_not_there_is_named_at_once_and_its_password_is_not(home):
    port, start = free_port(), time.monotonic()
    with pytest.raises(
        TemporaryError, match=rf"MLflow at http://127\.0\.0\.1:{port}/x does not answer \(.*refused\)"
    ) as told:
        client(f"http://someone:secret@127.0.0.1:{port}/x")
    assert time.monotonic() - start < 5
    assert "secret" not in str(told.value)
    assert "unilogit up" in str(told.value)


def test_a_gateway_without_a_server_behind_it_does_not_answer(home):
    with answering(status=503) as server, pytest.raises(TemporaryError, match=f"{server.address}.*503"):
        client(server.address)


@pytest.mark.slow
def test_a_server_that_hangs_is_named_within_20_seconds(home):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address, start = f"http://127.0.0.1:{silent.getsockname()[1]}", time.monotonic()
        with pytest.raises(TemporaryError, match=f"MLflow at {address} does not answer .*timed out"):
            client(address)
    assert time.monotonic() - start < 20


@pytest.mark.slow
def test_a_server_that_dies_meanwhile_is_named_within_20_seconds(home):
    home.mkdir()

    def ask_the_dead():
        with connect(uri) as store:
            os.killpg(int((home / "server.pid").read_text()), signal.SIGKILL)
            store.search_experiments()

    with serving(home) as uri:
        start = time.monotonic()
        with pytest.raises(TemporaryError, match=f"{uri} does not answer .*refused"):
            ask_the_dead()
    assert time.monotonic() - start < 20


BEHIND_A_PROXY = "import sys; from tasks.registry.connection import client; client(sys.argv[1])"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_not_asked_for_what_is_on_this_machine(home, name):
    with answering() as server, answering(status=502) as proxy:
        environment = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"}
        environment[name] = proxy.address
        subprocess.run([sys.executable, "-c", BEHIND_A_PROXY, server.address], check=True, env=environment)
    assert (server.paths, proxy.paths) == (["/health"], [])


KILLED = """
import os, signal, sys
import sqlalchemy as sa
from tasks.registry.connection import client

left = int(sys.argv[1])

@sa.event.listens_for(sa.engine.Engine, "commit")
def commit(connection):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

client()
"""


@pytest.mark.parametrize("commits", [0, 7, 40])
def test_a_database_that_a_kill_broke_off_is_made_by_the_next(home, commits):
    done = subprocess.run([sys.executable, "-c", KILLED, str(commits)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (home / "mlflow.db").exists()
    store = client()
    store.create_registered_model("some model")
    assert [model.name for model in store.search_registered_models()] == ["some model"]
    assert sorted(path.name for path in home.iterdir() if path.name.startswith(".")) == []


def test_a_connection_is_the_current_store_until_it_ends(home):
    mlflow.set_tracking_uri("sqlite:///before.db")
    try:
        with connect("sqlite:///other.db") as store:
            assert mlflow.get_tracking_uri() == store.tracking_uri == "sqlite:///other.db"
        assert mlflow.get_tracking_uri() == "sqlite:///before.db"
    finally:
        mlflow.set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # where MLflow had said so, too
    with connect("sqlite:///other.db"):
        pass
    assert not mlflow.is_tracking_uri_set()


def test_a_connection_leaves_the_environment_as_it_was(home, monkeypatch):
    for name in ("first", "second"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{name}.db")
        with connect() as store:
            assert store.tracking_uri == f"sqlite:///{name}.db"
        assert tracking_uri() == mlflow.get_tracking_uri() == f"sqlite:///{name}.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert not mlflow.is_tracking_uri_set(), "it outlives no environment"


def test_an_experiment_is_made_once_and_its_artifacts_name_no_folder(store, home):
    number = experiment_id(store, "some experiment")
    assert experiment_id(client(), "some experiment") == number
    locations = {experiment.name: experiment.artifact_location for experiment in store.search_experiments()}
    assert locations == {"Default": "mlflow-artifacts:/0", "some experiment": f"mlflow-artifacts:/{number}"}


def test_a_deleted_experiment_is_refused_with_what_brings_it_back(store):
    number = experiment_id(store, "some experiment")
    store.delete_experiment(number)
    with pytest.raises(InputError, match=rf"some experiment.*mlflow experiments restore --experiment-id {number}"):
        experiment_id(store, "some experiment")
    store.restore_experiment(number)
    assert experiment_id(store, "some experiment") == number
