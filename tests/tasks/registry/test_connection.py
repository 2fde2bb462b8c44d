"""Where MLflow's stores are, and experiments that are made once."""

import signal
import subprocess
import sys

import mlflow
import pytest

from tasks.registry import connection
from tasks.registry.connection import client, connect, experiment_id, tracking_uri
from unilogit.errors import InputError


def test_the_store_is_in_the_home_unless_the_environment_names_another(home, monkeypatch):
    assert tracking_uri() == f"sqlite:///{home}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri() == client().tracking_uri == "http://127.0.0.1:5000"
    assert client("http://127.0.0.1:5001").tracking_uri == "http://127.0.0.1:5001"


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
    with connect("sqlite:///other.db"):
        pass
    assert not mlflow.is_tracking_uri_set()


def test_an_experiment_is_made_once_and_its_artifacts_lie_in_the_home(store, home):
    number = experiment_id(store, "some experiment")
    assert experiment_id(client(), "some experiment") == number
    assert store.get_experiment(number).artifact_location == (home / "mlartifacts").as_uri()


def test_a_deleted_experiment_is_refused_with_what_brings_it_back(store):
    number = experiment_id(store, "some experiment")
    store.delete_experiment(number)
    with pytest.raises(InputError, match=rf"some experiment.*mlflow experiments restore --experiment-id {number}"):
        experiment_id(store, "some experiment")
    store.restore_experiment(number)
    assert experiment_id(store, "some experiment") == number


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        ("sqlite:////var/mlflow.db", True),
        ("http://127.0.0.1:5000", True),
        ("http://127.3.2.1", True),
        ("http://[::1]:5000/", True),
        ("https://localhost", True),
        ("http://10.0.0.7:5000", False),
        ("https://mlflow.example.org/path", False),
        ("http://localhost.example.org", False),
    ],
)
def test_only_this_machine_keeps_artifacts_in_the_home(uri, here):
    assert connection._is_here(uri) is here
