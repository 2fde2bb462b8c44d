"""Versions are found again, fetched whole or not at all, and their files compared with what was registered."""

import shutil

import pytest

from tasks.registry.connection import connect, experiment_id
from tasks.registry.versions import create_version, every_version, fetch, find_version, why_not_whole
from tasks.steps.register import run_register
from tasks.workspace import Place
from tests.tasks.workspaces import build_registrable
from unilogit.errors import InputError
from unilogit.files import sha256_weights

NAME = "example-assistant"


@pytest.fixture
def add(store):
    """Add a version with some tags, of a logged model without files."""

    def add(**tags):
        experiment = experiment_id(store, "some experiment")
        model = store.create_logged_model(experiment, "model")
        with connect():
            return create_version(store, NAME, store.create_run(experiment), model.model_id, tags)

    return add


@pytest.fixture
def registered(store, home, params):
    """A workspace whose model is version 1."""
    workspace = build_registrable(home / "runs" / "batch-1", params)
    run_register(workspace, params)
    return workspace


def test_a_version_is_found_by_its_registration_the_first_of_several(store, add):
    assert find_version(store, NAME, "a") is None
    add(registration="a")
    for _ in range(10):
        add(registration="b")
    assert int(find_version(store, NAME, "a").version) == 1
    assert int(find_version(store, NAME, "b").version) == 2
    assert find_version(store, "another-model", "a") is None


def test_every_version_is_listed_the_newest_first_however_many_pages_that_are(store, add, monkeypatch):
    for _ in range(12):
        add()
    whole = store.search_model_versions
    monkeypatch.setattr(store, "search_model_versions", lambda *given, **more: whole(*given, max_results=5, **more))
    assert [int(version.version) for version in every_version(store, NAME)] == list(range(12, 0, -1))


@pytest.fixture
def fetched(store, home):
    def fetched(version="1"):
        with connect() as connected:
            return fetch(connected, NAME, version, home / "fetched")

    return fetched


def test_a_version_comes_back_bit_for_bit(registered, fetched):
    model = fetched()
    for file in ("model.safetensors", "tokenizer.json"):
        assert (model / file).read_bytes() == registered.path(Place.MODEL, file).read_bytes()


def test_what_was_fetched_is_kept_while_it_is_whole(registered, fetched, home):
    model = fetched()
    shutil.rmtree(home / "mlartifacts")
    assert fetched() == model
    (model / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="version 1: not a transformers model"):
        fetched()


def test_tampered_weights_are_refused(registered, fetched, home):
    [weights] = (home / "mlartifacts").rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match="version 1: its weights are not those that were registered"):
        fetched()
    assert not (home / "fetched").exists()


def test_files_are_compared_with_what_was_registered_and_read_once(registered, store, home, monkeypatch):
    with connect():
        assert why_not_whole(store, NAME, "1") is None
        with monkeypatch.context() as patch:
            patch.setattr("tasks.registry.versions.sha256_weights", None)  # it would not be called
            assert why_not_whole(store, NAME, "1") is None
        [weights] = (home / "mlartifacts").rglob("*.safetensors")
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1] + b"\x01")
        assert why_not_whole(store, NAME, "1") == "its weights are not those that were registered (tag weights_sha256)"
        weights.write_bytes(whole)
        assert why_not_whole(store, NAME, "1") is None
        weights.unlink()
        assert why_not_whole(store, NAME, "1") == "its weights are gone"


def test_a_version_that_is_no_transformers_model_is_refused(store, fetched):
    experiment = experiment_id(store, "some experiment")
    run = store.create_run(experiment)
    store.log_text(run.info.run_id, "nothing", "model/MLmodel.txt")
    store.create_registered_model(NAME)
    store.create_model_version(NAME, f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
    with pytest.raises(InputError, match="version 1: not a transformers model"):
        fetched()


def test_weights_are_named_by_their_digest(registered, store):
    tags = store.get_model_version(NAME, "1").tags
    assert tags["weights_sha256"] == sha256_weights(registered.path(Place.MODEL))
