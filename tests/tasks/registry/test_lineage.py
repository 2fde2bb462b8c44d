"""The champion and what it descends from, in a real registry; who promoted it is known once and for all."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.registry.connection import client
from tasks.registry.lineage import IN_REGISTRY, find_champion
from tasks.registry.versions import promote
from unilogit.errors import InputError

NAME = "assistant"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = client()
    store.create_registered_model(NAME)
    return store


def add(store, number, parent="", gates="passed"):
    tags = {"gates": gates, "batch_id": f"batch-{number}", "parent_version": parent}
    assert store.create_model_version(NAME, "file:///nowhere", tags=tags).version == number


def test_without_a_champion_there_is_none(store):
    assert find_champion("another") is None
    add(store, 1)
    assert find_champion(NAME) is None


def test_the_lineage_leads_from_the_champion_to_the_base_model(store):
    add(store, 1)
    add(store, 2)  # of another try, never promoted
    add(store, 3, parent="1")
    add(store, 4, parent="3")
    promote(NAME, 3, "a reviewer")
    store.set_registered_model_alias(NAME, "candidate", "4")
    champion = find_champion(NAME)
    assert (champion.name, champion.version, champion.approved_by) == (NAME, "3", "a reviewer")
    assert [(ancestor.version, ancestor.batch_id) for ancestor in champion.lineage] == [
        ("3", "batch-3"),
        ("1", "batch-1"),
    ]
    assert champion.lineage[0].aliases == ("champion",)
    assert champion.versions == ("4", "3", "2", "1")
    assert champion.aliases == {"3": ("champion",), "4": ("candidate",)}
    assert abs(datetime.now(UTC) - champion.approved_at) < timedelta(minutes=5)


def test_an_alias_set_in_the_registry_is_dated_when_it_is_first_seen(store):
    add(store, 1)
    store.set_registered_model_alias(NAME, "champion", "1")
    first = find_champion(NAME)
    assert first.approved_by == IN_REGISTRY
    assert find_champion(NAME) == first


@pytest.mark.parametrize("gates", ["failed", ""])
def test_a_version_whose_gates_did_not_pass_is_refused(store, gates):
    add(store, 1, gates=gates)
    store.set_registered_model_alias(NAME, "champion", "1")
    with pytest.raises(InputError, match="version 1 is champion, but did not pass its gates"):
        find_champion(NAME)


def test_a_parent_that_is_not_registered_is_named(store):
    add(store, 1, parent="7")
    store.set_registered_model_alias(NAME, "champion", "1")
    with pytest.raises(InputError, match="its parent, version 7, is not registered"):
        find_champion(NAME)


def test_a_lineage_that_bites_its_tail_is_refused(store):
    add(store, 1, parent="2")
    add(store, 2, parent="1")
    store.set_registered_model_alias(NAME, "champion", "2")
    with pytest.raises(InputError, match="descends from itself"):
        find_champion(NAME)
