"""How a promotion is carried out in the registry, and how a champion that may not be one is put back.

A promotion is begun by one write, which says all of it. Every write after that can be repeated, so that whoever finds
it begun can complete it. Knows nothing of requests; who may be champion is in lineage.py.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.registry.connection import connect
from tasks.registry.lineage import ACCEPTED, LINEAGE, OPEN, Champion, Promotion, read_registry
from tasks.registry.versions import CHAMPION, PREVIOUS, why_not_whole

if TYPE_CHECKING:
    from mlflow import MlflowClient

APPROVED_BY, APPROVED_AT, REFUSED = "approved_by", "approved_at", "promotion_refused"  # tags of a version
REMOVED = f"its alias {CHAMPION} was removed; `unilogit models rollback` is the way to another champion"


@dataclass(frozen=True)
class Refusal:
    """A champion that may not be one.

    Attributes:
        version: that has the alias; None if the alias was removed.
        reasons: a clause each.
        instead: the version that gets it; None if none may be champion.
    """

    name: str
    version: str | None
    reasons: list[str]
    instead: str | None

    def __str__(self) -> str:
        reasons = "; ".join(self.reasons)
        if self.version is None:
            return f"{self.name} version {self.instead}: {reasons}; it is {CHAMPION} again"
        outcome = f"version {self.instead} is {CHAMPION} again" if self.instead else f"no version is {CHAMPION} now"
        return f"{self.name} version {self.version} may not be {CHAMPION}: {reasons}; {outcome}"


class RegistryWriter:
    """A registered model whose champion somebody is about to change.

    Attributes:
        registry: how it stands now.
    """

    def __init__(self, store: "MlflowClient", name: str) -> None:
        self._store, self._name = store, name
        self.registry = read_registry(store, name)

    def why_not(self, promotion: Promotion) -> list[str]:
        """Why a promotion may not be, a clause for each reason; the files of its version are looked at last."""
        reasons = self.registry.why_not(promotion.version, promotion.give_up)
        if promotion.version is not None and not reasons:
            flaw = why_not_whole(self._store, self._name, promotion.version)
            reasons += [flaw] if flaw else []
        return reasons

    def begin(self, promotion: Promotion) -> None:
        """Say what is to be done, in one write: from here on whoever comes completes it."""
        self._store.set_registered_model_tag(self._name, OPEN, promotion.model_dump_json())

    def abandon(self) -> None:
        """Nothing of what was begun is to be done any more."""
        self._store.delete_registered_model_tag(self._name, OPEN)
        self.registry = read_registry(self._store, self._name)

    def carry_out(self, promotion: Promotion) -> None:
        """Complete in the registry what was begun."""
        version = promotion.version
        if version is not None:
            lineage = json.dumps(self.registry.lineage(version))
            approval = {APPROVED_BY: promotion.approved_by, APPROVED_AT: promotion.approved_at.isoformat()}
            for tag, value in {**approval, LINEAGE: lineage}.items():
                self._store.set_model_version_tag(self._name, version, tag, value)
            self._store.delete_model_version_tag(self._name, version, REFUSED)
        self._set_alias(CHAMPION, version)
        self._store.set_registered_model_tag(self._name, ACCEPTED, promotion.model_dump_json())
        self._store.delete_registered_model_tag(self._name, OPEN)
        self.registry = read_registry(self._store, self._name)
        self.keep_predecessor()

    def keep_predecessor(self) -> None:
        """Give the alias `previous` to what the champion was made from."""
        self._set_alias(PREVIOUS, self.registry.predecessor())

    def mark_refused(self, refusal: Refusal) -> None:
        """Say on the version why it may not be champion."""
        if refusal.version is not None:
            self._store.set_model_version_tag(self._name, refusal.version, REFUSED, "; ".join(refusal.reasons))

    def put_back(self, refusal: Refusal) -> None:
        """Give the alias champion to the version accepted last, unless another was chosen or accepted meanwhile."""
        is_chosen = self.registry.aliases.get(CHAMPION) == refusal.version
        if is_chosen and refusal.instead in (None, self.registry.accepted_version):
            self._set_alias(CHAMPION, refusal.instead)

    def _set_alias(self, alias: str, version: str | None) -> None:
        """What is so already is not written: MLflow tells of each write."""
        present = self.registry.aliases.get(alias)
        if version is not None and version != present:
            self._store.set_registered_model_alias(self._name, alias, version)
        elif version is None and present is not None:
            self._store.delete_registered_model_alias(self._name, alias)


@contextmanager
def registry_writer(name: str) -> Iterator[RegistryWriter]:
    with connect() as store:
        yield RegistryWriter(store, name)


def find_champion(name: str) -> Champion | None:
    """The version that is champion and was accepted; None while there is none."""
    with registry_writer(name) as writer:
        registry = writer.registry
    return registry.champion() if registry.aliases.get(CHAMPION) == registry.accepted_version else None
