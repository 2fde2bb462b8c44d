"""Promotions in a real registry and a real ledger: what becomes champion, what is put back, what waits again."""

import pytest

from tasks.registry.lineage import Promotion
from tasks.requests.batches import open_ledger
from tasks.requests.certificates import certificate_files
from tasks.requests.promotion import IN_REGISTRY, examine_champion, promote, put_back, rollback
from tests.tasks.registry.family import NAME
from tests.tasks.requests.promotions import Life
from unilogit.errors import InputError


@pytest.fixture
def life(family):
    return Life(family)


@pytest.fixture
def generations(life):
    """Versions 1, 2 (of 1) and 3 (of 1); 2 is champion, and what it unlearned is certified."""
    life.unlearn()
    promote(NAME, "1", "ann")
    life.fulfil("1")
    life.unlearn("1")
    life.unlearn("1")
    promote(NAME, "2", "ann")
    life.fulfil("2")
    return life


def test_a_promotion_keeps_who_and_when_and_what_was_before(generations):
    family = generations.family
    assert family.aliases == {"champion": "2", "previous": "1"}
    assert (family.tags(2)["approved_by"], family.tags(2)["approved_at"][-6:]) == ("ann", "+00:00")
    assert promote(NAME, "2", "bob").startswith(f"{NAME} version 2 is champion; the next run starts from it.")
    assert family.tags(2)["approved_by"] == "ann"  # it was promoted before


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("4", f"{NAME} has no version 4; `unilogit models list` shows what there is"),
        ("1", f"{NAME} version 1 may not be promoted: it would undo batch "),
    ],
)
def test_what_may_not_be_champion_is_not_promoted(generations, version, words):
    with pytest.raises(InputError) as error:
        promote(NAME, version, "bob")
    assert words in str(error.value)
    assert generations.family.aliases == {"champion": "2", "previous": "1"}
    assert generations.states == {"1": "fulfilled", "2": "fulfilled", "3": "awaiting_promotion"}


def test_files_that_were_changed_are_not_promoted(family):
    family.add(1)
    family.weights(1).write_bytes(family.weights(1).read_bytes()[:-1] + b"\1")
    with pytest.raises(InputError, match="version 1 may not be promoted: its weights are not those that were"):
        promote(NAME, "1", "ann")
    family.lose_files(1)
    with pytest.raises(InputError, match="version 1 may not be promoted: its weights are gone"):
        promote(NAME, "1", "ann")


def test_a_batch_that_is_given_up_waits_again_without_certificate(generations):
    life = generations
    told = promote(NAME, "3", "bob", [life.batches["2"]])
    assert f"batch {life.batches['2']} is given up, as bob went to version 3 instead: 1 requests wait again" in told
    assert life.family.aliases == {"champion": "3", "previous": "1"}
    assert life.states == {"1": "fulfilled", "2": "validated", "3": "awaiting_promotion"}
    assert [file.parent.name for file in certificate_files()] == ["certificates", "superseded"]
    with open_ledger() as ledger:
        row, last = ledger.find("r002"), ledger.history("r002")[-1]
    assert (row.batch_id, row.certificate_sha256) == (None, None)
    assert (last.from_state, last.run) == ("fulfilled", "person: bob")


def test_going_back_asks_for_the_batch_by_name(generations):
    life = generations
    with pytest.raises(InputError) as error:
        rollback(NAME, "bob")
    assert f"`unilogit models rollback {NAME} --give-up {life.batches['2']}` does so" in str(error.value)
    assert "version 1 is champion again" in rollback(NAME, "bob", [life.batches["2"]])
    assert life.family.aliases == {"champion": "1"}
    assert life.reconcile() is None
    assert life.states == {"1": "fulfilled", "2": "validated", "3": "awaiting_promotion"}
    assert "the base model is used again" in rollback(NAME, "bob", [life.batches["1"]])
    assert life.family.aliases == {}
    assert life.reconcile() is None
    assert life.states == {"1": "validated", "2": "validated", "3": "awaiting_promotion"}
    with pytest.raises(InputError, match="no version is champion, so there is none to go back from"):
        rollback(NAME, "bob")


def test_what_nobody_could_unlearn_again_is_not_given_up(generations):
    with open_ledger() as ledger:
        ledger.purge(["r002"], "run")
    with pytest.raises(InputError, match="are purged, so that nobody could unlearn them again"):
        rollback(NAME, "bob", [generations.batches["2"]])
    assert generations.family.aliases == {"champion": "2", "previous": "1"}


def test_a_click_in_the_registry_is_a_promotion_and_what_it_strands_waits_again(generations):
    life = generations
    life.unlearn("2")
    life.family.click(4)
    refusal, told = examine_champion(NAME, "run")
    assert refusal is None
    assert life.family.aliases == {"champion": "4", "previous": "2"}
    assert life.family.tags(4)["approved_by"] == IN_REGISTRY
    assert told[0] == f"{NAME} version 4 was accepted as champion"
    assert life.states == {"1": "fulfilled", "2": "fulfilled", "3": "validated", "4": "awaiting_promotion"}
    before = life.family.tags(4)
    assert examine_champion(NAME, "run") == (None, [])
    assert life.family.tags(4) == before


@pytest.mark.parametrize("version", [1, 3, 4, None])
def test_a_click_that_may_not_be_is_put_back(generations, version):
    life = generations
    life.unlearn("2")
    life.family.store.set_model_version_tag(NAME, "4", "gates", "failed")
    life.family.click(version)
    refusal = life.reconcile()
    assert (refusal.version, refusal.instead) == (version and str(version), "2")
    assert life.family.aliases == {"champion": "2", "previous": "1"}
    if version:
        assert life.family.tags(version)["promotion_refused"] == "; ".join(refusal.reasons)
    assert "version 2" in str(refusal)
    assert life.states["2"] == "fulfilled"
    assert life.reconcile() is None


def test_without_one_before_the_alias_is_removed(family):
    family.add(1, gates="failed")
    family.click(1)
    life = Life(family)
    assert str(life.reconcile()).endswith("it did not pass its gates; no version is champion now")
    assert family.aliases == {}
    assert life.reconcile() is None


def test_a_champion_whose_files_were_changed_does_not_stay_and_comes_back_with_them(family):
    life = Life(family)
    family.add(1)
    promote(NAME, "1", "ann")
    whole = family.weights(1).read_bytes()
    family.weights(1).write_bytes(whole[:-1] + b"\1")
    assert life.reconcile().reasons == ["its weights are not those that were registered (tag weights_sha256)"]
    assert family.aliases == {}
    with pytest.raises(InputError, match="no version is champion, and version 1, which was accepted last, may not be"):
        life.reconcile()
    family.weights(1).write_bytes(whole)
    assert life.reconcile().instead == "1"
    assert family.aliases == {"champion": "1"}


def test_a_click_that_was_followed_by_another_is_not_put_back(generations):
    generations.family.click(1)
    refusal, _ = examine_champion(NAME, "run")
    generations.family.click(3)
    put_back(refusal)
    assert generations.family.aliases["champion"] == "3"


def test_a_click_that_a_person_confirmed_meanwhile_is_not_put_back(generations):
    generations.family.click(1)
    refusal, _ = examine_champion(NAME, "run")
    rollback(NAME, "bob", [generations.batches["2"]])
    put_back(refusal)
    assert generations.family.aliases == {"champion": "1"}
    assert generations.reconcile() is None


def test_a_version_that_was_deleted_while_it_was_promoted_is_let_go(generations, store):
    begun = Promotion.decided_now("3", "bob", [generations.batches["2"]])
    store.set_registered_model_tag(NAME, "open_promotion", begun.model_dump_json())
    store.delete_model_version(NAME, "3")
    assert generations.reconcile() is None
    assert generations.family.aliases == {"champion": "2", "previous": "1"}
    assert "open_promotion" not in store.get_registered_model(NAME).tags
