"""Promotions, and champions put back, killed at every commit of registry and ledger: repeated, they end whole."""

from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from tasks.requests.certificates import certificate_file
from tasks.requests.promotion import promote, rollback
from tests.tasks.registry.family import NAME
from tests.tasks.requests.promotions import Life
from unilogit.errors import InputError


@contextmanager
def killed_at(number):
    """Interrupt this process at its commit `number`, before it is made; counts them."""
    count = iter(range(10_000))
    commits = []

    def commit(_):
        commits.append(None)
        if next(count) == number:
            raise KeyboardInterrupt

    sa.event.listen(sa.engine.Engine, "commit", commit)
    try:
        yield commits
    finally:
        sa.event.remove(sa.engine.Engine, "commit", commit)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "again"),
    [
        *((action, again) for action in ("promote", "rollback") for again in ("repeated", "reconciled")),
        ("accept", "repeated"),
        ("put back", "repeated"),
    ],
)
def test_a_kill_between_any_two_writes_ends_whole(family, action, again):
    """Every place of a kill on one history, whose first version is champion again after each."""
    life, place, done = Life(family), 0, False
    first = life.unlearn()
    promote(NAME, first, "ann")
    while not done:
        kept, other = life.unlearn(first), life.unlearn(first)
        promote(NAME, kept, "ann")
        life.fulfil(kept)
        descendant = life.unlearn(kept)
        family.click({"accept": descendant, "put back": first}.get(action, kept))
        commands = {
            "promote": lambda give_up=life.batches[kept], other=other: promote(NAME, other, "bob", [give_up]),
            "rollback": lambda give_up=life.batches[kept]: rollback(NAME, "bob", [give_up]),
        }
        command = commands.get(action, life.reconcile)
        with killed_at(place):
            try:
                command()
                done = True
            except KeyboardInterrupt:
                pass
        if again == "reconciled":
            assert life.reconcile() is None
        if not done and (again == "repeated" or family.aliases["champion"] == kept):  # it had not begun
            try:
                command()
            except InputError:  # it was complete but for `previous`, and there is nothing to give up any more
                assert action == "rollback"
        assert life.reconcile() is None
        right = {"promote": other, "rollback": first, "accept": descendant, "put back": kept}[action]
        undone = action in ("promote", "rollback")
        assert family.aliases.get("champion") == right, place
        assert family.aliases.get("previous") == {first: None, descendant: kept}.get(right, first)
        assert "open_promotion" not in family.store.get_registered_model(NAME).tags
        assert life.states[kept] == ("validated" if undone else "fulfilled")
        assert certificate_file(f"r{int(kept):03}").exists() is not undone
        place += 1
        give_up = [life.batches[right], life.batches[kept]] if action == "accept" else [life.batches[right]]
        if right != first:
            promote(NAME, first, "ann", give_up)
    assert place > 10
