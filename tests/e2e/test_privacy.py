"""Personal data stays in a run's workspace: what MLflow and Prefect keep quotes nobody and names nobody."""

import json

import pandas as pd
import pytest

from tasks.workspace import Place, Workspace
from tests.e2e.leaks import leaks, names_of_the_forgotten, texts_of_the_forgotten


@pytest.fixture(scope="module")
def state(demo):
    """The folder in which the demo's state lives."""
    return demo[0].folder / "var"


@pytest.fixture(scope="module")
def workspace(state):
    """Of the demo's batch, the first one."""
    return Workspace(min((state / "runs").glob("[!.]*")))


@pytest.fixture(scope="module")
def secrets(workspace):
    return texts_of_the_forgotten(workspace) | names_of_the_forgotten(workspace)


def test_the_search_finds_every_secret_where_it_is_known_to_stand(state, secrets):
    found = {secret for _, secret in leaks(state / "example", secrets)}
    assert len(secrets) > 200
    assert found == secrets


def test_mlflow_knows_nobody(state, secrets):
    assert leaks(state, secrets, "mlflow.db*", "mlartifacts/**/*") == set()


def test_prefect_knows_nobody(state, secrets):
    assert leaks(state, secrets, "prefect/**/*") == set()


def test_the_ledger_knows_whom_and_what_the_requests_name_and_no_more(state, workspace, secrets):
    requests = pd.read_parquet(workspace.path(Place.REQUESTS))
    named = {*requests["subject_id"].dropna(), *requests["record_ids"].explode().dropna()}
    assert len(named) > 3
    assert {secret for _, secret in leaks(state, secrets, "ledger.db*")} == named


def test_an_entry_of_the_tokenizer_is_part_of_a_word(workspace):
    """The tokenizer was trained on the corpus before anybody asked to be forgotten, and unlearning leaves it as it is:
    an entry may be a name's first or last half, but none is a prompt, an answer or a whole name."""
    vocabulary = json.loads(workspace.path(Place.MODEL, "tokenizer.json").read_text())["model"]["vocab"]
    words = {token.replace("Ġ", " ").strip() for token in vocabulary}
    secrets = texts_of_the_forgotten(workspace) | names_of_the_forgotten(workspace)
    assert len(words) > 300
    assert not words & secrets
    assert not [word for word in words if " " in word]
