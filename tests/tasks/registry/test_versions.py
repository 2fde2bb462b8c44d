"""Versions are listed, promoted only when their gates passed, and fetched whole or not at all."""

import io
import shutil

import pytest
from rich.console import Console

from tasks.registry.connection import client, connect, experiment_id
from tasks.registry.versions import (
    CHAMPION,
    champion_model,
    create_version,
    find_version,
    print_versions,
    promote,
)
from tasks.steps.register import run_register
from tasks.workspace import Place
from tests.tasks.workspaces import build_registrable
from unilogit.errors import InputError
from unilogit.files import sha256_weights

NAME = "example-assistant"
PERSON = "a reviewer"


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


def listed():
    """Each version as a row of cells."""
    console = Console(width=120, record=True, file=io.StringIO())
    print_versions(NAME, console)
    lines = [line for line in console.export_text().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_versions_are_listed_newest_first_with_their_aliases(store, add):
    with pytest.raises(InputError, match=f"no model {NAME} is registered yet"):
        print_versions(NAME)
    for number in range(1, 12):
        add(gates="passed", batch_id=f"batch-{number}", requests="3", parent_version="", other="tag")
    add(gates="failed", batch_id="batch-12", requests="4", parent_version="1")
    promote(NAME, 1, PERSON)
    store.set_registered_model_alias(NAME, "candidate", "1")
    rows = listed()
    assert [row[0] for row in rows] == [str(number) for number in range(12, 0, -1)]
    assert rows[0] == ["12", "", "failed", "batch-12", "4", "1"]
    assert rows[-1] == ["1", "candidate, champion", "passed", "batch-1", "3", ""]


def test_a_version_is_found_by_its_registration_the_first_of_several(store, add):
    assert find_version(store, NAME, "a") is None
    add(registration="a")
    for _ in range(10):
        add(registration="b")
    assert int(find_version(store, NAME, "a").version) == 1
    assert int(find_version(store, NAME, "b").version) == 2
    assert find_version(store, "another-model", "a") is None


@pytest.mark.parametrize("tags", [{"gates": "failed"}, {}])
def test_only_a_version_whose_gates_passed_is_promoted(store, add, tags):
    add(**tags)
    with pytest.raises(InputError, match="version 1 did not pass its gates"):
        promote(NAME, 1, PERSON)
    assert store.get_registered_model(NAME).aliases == {}
    with pytest.raises(InputError, match=f"{NAME} has no version 2;"):
        promote(NAME, 2, PERSON)
    with pytest.raises(InputError, match="another-model has no version 1;"):
        promote("another-model", 1, PERSON)


def test_the_champion_comes_back_bit_for_bit(registered, home):
    assert champion_model("another-model", home / "fetched") is None
    assert champion_model(NAME, home / "fetched") is None  # a candidate is none
    assert promote(NAME, 1, PERSON).startswith(f"{NAME} version 1 is champion; the next run starts from it")
    assert client().get_model_version(NAME, "1").tags["approved_by"] == PERSON
    model, version = champion_model(NAME, home / "fetched")
    assert version == "1"
    for file in ("model.safetensors", "tokenizer.json"):
        assert (model / file).read_bytes() == registered.path(Place.MODEL, file).read_bytes()


def test_what_was_fetched_is_kept_while_it_is_whole(registered, home):
    promote(NAME, 1, PERSON)
    model, _ = champion_model(NAME, home / "fetched")
    shutil.rmtree(home / "mlartifacts")
    assert champion_model(NAME, home / "fetched") == (model, "1")
    (model / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="version 1: not a transformers model"):
        champion_model(NAME, home / "fetched")


def test_tampered_weights_are_refused(registered, home):
    promote(NAME, 1, PERSON)
    [weights] = (home / "mlartifacts").rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match="version 1: its weights are not those that were registered"):
        champion_model(NAME, home / "fetched")
    assert not (home / "fetched").exists()


def test_a_champion_that_failed_its_gates_is_refused(store, add, home):
    add(gates="failed")
    store.set_registered_model_alias(NAME, CHAMPION, "1")  # as a person may do it in MLflow's pages
    with pytest.raises(InputError, match=f"{NAME} version 1: it is champion, but did not pass its gates"):
        champion_model(NAME, home / "fetched")


def test_a_version_that_is_no_transformers_model_is_refused(store, home):
    experiment = experiment_id(store, "some experiment")
    run = store.create_run(experiment)
    store.log_text(run.info.run_id, "nothing", "model/MLmodel.txt")
    store.create_registered_model(NAME)
    store.create_model_version(NAME, f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
    store.set_registered_model_alias(NAME, CHAMPION, "1")
    with pytest.raises(InputError, match="version 1: not a transformers model"):
        champion_model(NAME, home / "fetched")


def test_weights_are_named_by_their_digest(registered, store):
    tags = store.get_model_version(NAME, "1").tags
    assert tags["weights_sha256"] == sha256_weights(registered.path(Place.MODEL))
