"""Whatever people click and type, in any order: held to a rule in sets that knows neither registry nor ledger."""

import random

import pytest

from tasks.requests.promotion import promote, rollback
from tests.tasks.registry.family import NAME
from tests.tasks.requests.promotions import Life
from unilogit.errors import InputError


class Walk:
    """A life, and beside it what must be true of it."""

    def __init__(self, family, seed):
        self.family, self.life, self.chance = family, Life(family), random.Random(seed)
        self.parents, self.passed, self.states = {}, {}, {}
        self.accepted = None
        self.refused = 0

    def ancestors(self, version):
        return {version} | self.ancestors(self.parents[version]) if version else set()

    def lost(self, version):
        return self.ancestors(self.accepted) - self.ancestors(version)

    def unlearn(self):
        for version, state in self.states.items():
            self.states[version] = "withdrawn" if state == "validated" else state
        parent = self.chance.choice([self.accepted, None, *self.parents])
        version = self.life.unlearn(parent or "")
        self.parents[version], self.passed[version] = parent, self.chance.random() < 0.8
        self.states[version] = "awaiting_promotion"
        verdict = "passed" if self.passed[version] else "failed"
        self.family.store.set_model_version_tag(NAME, version, "gates", verdict)

    def click(self):
        self.family.click(self.chance.choice([None, *self.parents]))

    def promote(self):
        self.decide(self.chance.choice(list(self.parents)), lambda *given: promote(NAME, *given))

    def rollback(self):
        if self.accepted:
            self.decide(self.parents[self.accepted], lambda _, *given: rollback(NAME, *given))

    def decide(self, version, command):
        lost = self.lost(version)
        named = lost if self.chance.random() < 0.7 else {self.chance.choice(list(self.parents))}
        may_be = version is None or self.passed[version]
        try:
            command(version, "ann", [self.life.batches[item] for item in named])
        except InputError:
            assert not may_be or named != lost
            self.refused += 1
            return
        assert version == self.accepted or (may_be and named == lost)
        self.accepted = version
        self.wait_again(lost)

    def wait_again(self, versions):
        for version in versions:
            if self.states[version] == "awaiting_promotion":
                self.states[version] = "validated"

    def reconcile(self):
        chosen = self.family.aliases.get("champion")
        refusal = self.life.reconcile()
        if chosen == self.accepted or (chosen and self.passed[chosen] and not self.lost(chosen)):
            assert refusal is None
            self.accepted = chosen
            heirs = [heir for heir in self.parents if self.passed[heir] and not self.lost(heir)]
            reachable = self.ancestors(chosen).union(*map(self.ancestors, heirs))
            self.wait_again(self.states.keys() - reachable)
            right = {"champion": chosen, "previous": self.parents.get(chosen)}
            assert self.family.aliases == {alias: version for alias, version in right.items() if version}
        else:
            assert refusal.instead == self.accepted
            assert self.family.aliases.get("champion") == self.accepted
            self.refused += 1


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_the_champion_is_always_one_that_may_be(family, seed):
    walk = Walk(family, seed)
    walk.unlearn()
    for _ in range(40):
        moves = [walk.unlearn, walk.click, walk.click, walk.promote, walk.promote, walk.rollback, walk.reconcile]
        walk.chance.choice([*moves, walk.reconcile])()
        assert walk.life.states == walk.states
    assert walk.refused > 0
    assert any(walk.passed.values())
