"""Artifacts by an address without a machine: found in the home, through a server, and after the home was moved."""

import shutil

import mlflow
import pytest

from tasks.registry.artifacts import artifact_folder, check_artifacts_arrive
from tasks.registry.connection import client, connect, experiment_id
from tasks.registry.versions import CHAMPION, fetch
from tasks.steps.register import run_register
from tasks.workspace import Place
from tests.tasks.registry.servers import serving
from tests.tasks.workspaces import build_registrable
from unilogit.errors import InputError
from unilogit.files import sha256_weights

NAME = "example-assistant"


def test_without_a_server_artifacts_lie_in_the_home(store, home):
    run = store.create_run(experiment_id(store, "some experiment"))
    assert run.info.artifact_uri == f"mlflow-artifacts:/1/{run.info.run_id}/artifacts"
    store.log_text(run.info.run_id, "a text", "inside/some.txt")
    folder = artifact_folder(run.info.artifact_uri, store.tracking_uri)
    assert folder == home / "mlartifacts" / "1" / run.info.run_id / "artifacts"
    assert (folder / "inside" / "some.txt").read_text() == "a text"
    with connect():
        assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/inside/some.txt") == "a text"
    check_artifacts_arrive(store, run, "some.txt")  # nobody else to ask


def test_folders_by_their_own_address(home):
    assert str(artifact_folder("file:///some/a%20b", "sqlite:///x")) == "/some/a b"
    assert artifact_folder("s3://bucket/key", "sqlite:///x") is None


def fetch_champion(folder):
    """The fetched model and its version."""
    with connect() as store:
        version = str(store.get_model_version_by_alias(NAME, CHAMPION).version)
        return fetch(store, NAME, version, folder), version


@pytest.fixture
def champion(store, home, params):
    """The digest of a version that is registered without a server and promoted."""
    workspace = build_registrable(home / "runs" / "batch-1", params)
    run_register(workspace, params)
    store.set_registered_model_alias(NAME, CHAMPION, "1")
    return sha256_weights(workspace.path(Place.MODEL))


def test_a_moved_home_keeps_its_champion_and_what_was_logged(champion, home, tmp_path, monkeypatch):
    moved = tmp_path / "moved here"
    home.rename(moved)
    monkeypatch.setenv("UNILOGIT_HOME", str(moved))
    model, version = fetch_champion(tmp_path / "fetched")
    assert (sha256_weights(model), version) == (champion, "1")
    store = client()
    assert "report.html" in {file.path for file in store.list_artifacts(store.get_model_version(NAME, "1").run_id)}
    assert str(tmp_path / "var") not in (moved / "mlflow.db").read_bytes().decode("latin-1")


@pytest.mark.slow
def test_with_a_server_too_on_this_machine_and_elsewhere(champion, home, params, tmp_path, monkeypatch):
    moved, elsewhere = tmp_path / "moved here", tmp_path / "elsewhere"
    home.rename(moved)
    with serving(moved) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        for place in (moved, elsewhere):  # a worker on another machine has a home of its own, without these files
            monkeypatch.setenv("UNILOGIT_HOME", str(place))
            address = client().get_model_version_download_uri(NAME, "1")
            folder = artifact_folder(address, uri)
            assert folder == (moved / "mlartifacts" / address.partition(":/")[2] if place == moved else None)
            model, version = fetch_champion(tmp_path / f"fetched by {place.name}")
            assert (sha256_weights(model), version) == (champion, "1")
        workspace = build_registrable(elsewhere / "runs" / "batch-2", params, seed=1)
        registration = run_register(workspace, params)
        assert registration.version == "2"
        assert not (elsewhere / "mlartifacts").exists()
        store = client()
        assert "report.html" in {file.path for file in store.list_artifacts(registration.run_id)}
        shutil.rmtree(elsewhere)
        store.set_registered_model_alias(NAME, CHAMPION, "2")
        second, _ = fetch_champion(tmp_path / "second")
        assert sha256_weights(second) == registration.tags["weights_sha256"]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("UNILOGIT_HOME", str(moved))
    model, version = fetch_champion(tmp_path / "without the server again")
    assert (sha256_weights(model), version) == (registration.tags["weights_sha256"], "2")


@pytest.mark.slow
def test_a_server_that_names_a_folder_of_its_own_machine_is_refused(store, home, tmp_path, monkeypatch):
    with serving(home, "--no-serve-artifacts", "--default-artifact-root", str(tmp_path / "theirs")) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        server = client()
        run = server.create_run(experiment_id(server, "some experiment"))
        server.log_text(run.info.run_id, "a text", "some.txt")
        check_artifacts_arrive(server, run, "some.txt")  # for once it is this machine
        (tmp_path / "theirs").rename(tmp_path / "ours")  # as if the server had another disk
        with pytest.raises(InputError, match="a folder of the server's machine"):
            check_artifacts_arrive(server, run, "some.txt")
