"""Who may be champion, and what a batch starts from, in a real registry; the rule is held to a brute-force one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.registry.connection import connect
from tasks.registry.lineage import Promotion, Registry, choose_parent, offer, read_registry
from tasks.requests.promotion import examine_champion, promote
from tests.tasks.registry.family import NAME
from unilogit.errors import InputError


def read():
    with connect() as store:
        return read_registry(store, NAME)


def test_what_was_never_registered_has_no_versions(store):
    registry = read()
    assert (registry.versions, registry.aliases, registry.champion()) == ({}, {}, None)


def test_the_lineage_leads_to_the_base_model(family):
    family.add(1)
    family.add(2)  # of another try
    family.add(3, parent=1)
    family.add(4, parent=3)
    registry = read()
    assert [tuple(ancestor) for ancestor in registry.lineage("4")] == [
        ("4", "batch-4"),
        ("3", "batch-3"),
        ("1", "batch-1"),
    ]
    assert list(registry.versions) == ["4", "3", "2", "1"]
    assert registry.lineage(None) == ()


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"gates": "failed"}, "it did not pass its gates"),
        ({"gates": None}, "it did not pass its gates"),
        ({"weights_sha256": None}, "nothing says which weights it has (tag weights_sha256)"),
        ({"batch_id": None}, "nothing says which batch it was made for (tag batch_id)"),
        ({"parent": 7}, "assistant version 1: its parent, version 7, is not registered"),
        ({"parent": 1}, "assistant version 1 descends from itself; correct its tag parent_version"),
    ],
)
def test_a_version_that_may_not_be_champion_is_told_why(family, tags, reason):
    family.add(1, **tags)
    assert read().why_not("1") == [reason]
    assert read().why_not("2")[0] == "it is not registered"


def test_what_would_be_undone_is_named_with_the_command_that_does_so(family):
    for number, parent in enumerate(["", 1, 2, 1], start=1):
        family.add(number, parent)
    for number in "123":
        promote(NAME, number, "ann")
    [reason] = read().why_not("4")
    assert "it would undo batches batch-3, batch-2 of version 3, the accepted champion" in reason
    assert f"`unilogit models promote {NAME} 4 --give-up batch-3 --give-up batch-2`" in reason
    assert read().why_not("4", ["batch-2", "batch-3"]) == []
    [reason] = read().why_not("4", ["batch-3", "batch-2", "batch-1"])
    assert reason == "it does not undo batch batch-1, which is to be given up"


def test_a_lineage_outlives_old_versions_that_are_deleted(family, store):
    for number in (1, 2, 3):
        family.add(number, number - 1)
        promote(NAME, str(number), "ann")
    family.add(4, 3)
    family.add(5, 2)
    store.delete_model_version(NAME, "1")
    store.delete_model_version(NAME, "2")
    assert read().why_not("4") == []
    assert [item.version for item in read().lineage("4")] == ["4", "3", "2", "1"]
    [reason] = read().why_not("5")
    assert reason == "assistant version 5: its parent, version 2, is not registered"
    store.delete_model_version(NAME, "3")
    assert read().why_not("4") == []
    family.add(6)
    [reason] = read().why_not("6")
    assert reason == "version 3, which it does not descend from, was deleted in MLflow"


def test_tags_that_were_changed_are_named(family, store):
    store.set_registered_model_tag(NAME, "accepted_champion", "3")
    with pytest.raises(InputError, match="assistant: its tag accepted_champion or open_promotion was changed"):
        read()


def test_candidate_moves_forward_only(family, store):
    for number in range(1, 13):
        family.add(number)
    assert [offer(store, NAME, version) for version in ("2", "11", "2", "11", "12")] == [True, True, False, True, True]
    assert family.aliases == {"candidate": "12"}


def test_a_batch_starts_from_the_base_model_only_while_none_was_ever_champion(family, store, home):
    family.add(1)
    assert choose_parent(NAME, home / "parent", "some/base") is None
    assert choose_parent("another", home / "parent", "some/base") is None
    promote(NAME, "1", "ann")
    family.click(None)
    with pytest.raises(InputError, match="no version is champion, though version 1 was accepted"):
        choose_parent(NAME, home / "parent", "some/base")


@pytest.mark.parametrize("gates", ["failed", None])
def test_no_batch_starts_from_a_champion_that_may_not_be_one(family, home, gates):
    family.add(1, gates=gates)
    family.click(1)
    with pytest.raises(InputError, match="assistant version 1 is champion, but may not be: it did not pass its gates;"):
        choose_parent(NAME, home / "parent", "some/base")


def test_no_batch_starts_from_a_version_that_would_undo_one(family, home):
    family.add(1)
    family.add(2, parent=1)
    promote(NAME, "2", "ann")
    family.click(1)
    with pytest.raises(InputError, match="version 1 is champion, but may not be: it would undo batch batch-2"):
        choose_parent(NAME, home / "parent", "some/base")


def test_no_batch_starts_while_a_promotion_is_not_carried_out(family, store, home):
    family.add(1)
    begun = Promotion.decided_now("1", "ann")
    store.set_registered_model_tag(NAME, "open_promotion", begun.model_dump_json())
    with pytest.raises(InputError, match="a promotion is not carried out yet; `unilogit reconcile` does so"):
        choose_parent(NAME, home / "parent", "some/base")
    examine_champion(NAME, "run")
    assert family.aliases == {"champion": "1"}


# The rule itself, against one that knows nothing but sets.


@st.composite
def trees(draw):
    """Versions with random parents, of which any may be broken; some share a batch; and one that was accepted."""
    count = draw(st.integers(1, 7))
    versions = {}
    for number in range(1, count + 1):
        parent = draw(st.sampled_from(["", *map(str, range(1, count + 2))]))  # even itself, a later one, one too many
        gates = draw(st.sampled_from(["passed", "passed", "failed"]))
        versions[str(number)] = {
            "parent_version": parent if draw(st.booleans()) else (str(number - 1) if number > 1 else ""),
            "gates": gates,
            "batch_id": f"b{draw(st.integers(1, count))}" if draw(st.booleans()) else f"b{number}",
            "weights_sha256": "0",
        }
    accepted = draw(st.sampled_from([None, *versions]))
    give_up = draw(st.sets(st.sampled_from([f"b{number}" for number in range(1, count + 1)])))
    return versions, accepted, give_up


def ancestors(versions, number):
    """Every version that is reached from one by way of parents, itself among them; None if that is no way to a base."""
    reached = {number}
    for _ in range(len(versions) + 1):
        parents = {versions[known]["parent_version"] for known in reached if known in versions}
        reached |= parents
    if "" not in reached or not reached - {""} <= versions.keys():
        return None
    return reached - {""}


@settings(max_examples=1500, deadline=None)
@given(trees())
def test_the_rule_is_that_of_sets(tree):
    versions, accepted, give_up = tree
    if accepted and ancestors(versions, accepted) is None:
        return  # no such version is accepted
    promotion = Promotion.decided_now(accepted, "ann")
    registry = Registry(NAME, versions, {}, promotion if accepted else None)
    unlearned = {versions[item]["batch_id"] for item in ancestors(versions, accepted)} if accepted else set()
    for number, tags in versions.items():
        family = ancestors(versions, number)
        kept = {versions[item]["batch_id"] for item in family} if family else set()
        may_be = family is not None and tags["gates"] == "passed" and unlearned - kept == give_up
        assert (not registry.why_not(number, sorted(give_up))) == may_be
    assert (not registry.why_not(None, sorted(give_up))) == (unlearned == give_up)
    reachable = set()
    for number, tags in versions.items():
        family = ancestors(versions, number)
        kept = {versions[item]["batch_id"] for item in family} if family else set()
        if family and tags["gates"] == "passed" and unlearned <= kept:
            reachable |= kept
    assert registry.stranded() == {tags["batch_id"] for tags in versions.values()} - reachable - unlearned
