"""What tests with a registry share: a state folder of their own, with an empty MLflow database in it."""

from pathlib import Path

import pytest

from tasks.params import load_params
from tasks.registry.connection import client
from tests.tasks.registry.family import Family

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A state folder of its own, and a current folder without git or DVC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "var"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "var"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database that is made once; making one takes seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(home, empty_database):
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_database.read_bytes())
    return client()


@pytest.fixture
def params():
    return load_params(PARAMS)


@pytest.fixture
def family(store, tmp_path):
    return Family(store, tmp_path / "weights")
