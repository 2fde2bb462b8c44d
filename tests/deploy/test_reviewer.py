"""An account for a reviewer, made as docs/production.md says: it moves an alias of one model, and nothing else."""

import subprocess
import sys

import pytest
import requests

from tests.deploy.guide import blocks
from tests.deploy.servers import running_mlflow
from tests.deploy.settings import clean_environment, make_credentials

pytestmark = pytest.mark.slow

PASSWORD = "a long enough password"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    """A server with two models of one version each, and its administrator's credentials."""
    folder = tmp_path_factory.mktemp("mlflow") / "home"
    credentials = make_credentials(folder.parent / ".env")
    with running_mlflow(folder, clean_environment() | credentials) as url:
        ours = session(credentials["MLFLOW_TRACKING_USERNAME"], credentials["MLFLOW_TRACKING_PASSWORD"])
        api = f"{url}/api/2.0/mlflow"
        run = ours.post(f"{api}/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
        for name in ("example-assistant", "another"):
            assert ours.post(f"{api}/registered-models/create", json={"name": name}).ok
            version = {"name": name, "run_id": run, "source": f"runs:/{run}/model"}
            created = ours.post(f"{api}/model-versions/create", json=version)
            assert created.ok, created.text
        yield url, credentials


def session(username, password):
    client = requests.Session()
    client.trust_env, client.auth = False, (username, password)
    return client


def test_a_reviewer_may_move_the_alias_and_nothing_else(mlflow, tmp_path):
    url, credentials = mlflow
    (program,) = blocks("Passwords", "python")
    file = tmp_path / "program.py"
    file.write_text(f"MLFLOW, PASSWORD = {url!r}, {PASSWORD!r}\n{program}")
    made = subprocess.run(
        [sys.executable, file], env=clean_environment() | credentials, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr

    reviewer, api = session("reviewer", PASSWORD), f"{url}/api/2.0/mlflow"
    model = {"name": "example-assistant", "alias": "champion", "version": "1"}
    assert reviewer.get(f"{api}/registered-models/get", params={"name": "another"}).ok
    assert reviewer.post(f"{api}/registered-models/alias", json=model).ok
    refused = [
        reviewer.post(f"{api}/registered-models/alias", json={**model, "name": "another"}),
        reviewer.delete(f"{api}/registered-models/delete", json={"name": "example-assistant"}),
        reviewer.post(f"{api}/experiments/delete", json={"experiment_id": "0"}),
        reviewer.post(f"{api}/users/create", json={"username": "friend", "password": PASSWORD}),
        reviewer.get(f"{api}/webhooks"),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert session("reviewer", "guessed it all").get(f"{api}/registered-models/search").status_code == 401
