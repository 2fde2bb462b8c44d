"""Which version may be champion, and what it descends from: the one place that knows lineage, which every reader asks.

An alias says what somebody clicked. Which champion was accepted last stands in a tag of the registered model, and what
an accepted version descends from in a tag of that version: old versions may be deleted. Promotions are carried out in
promotion.py. MLflow is imported inside functions.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.registry.connection import connect
from tasks.registry.versions import CANDIDATE, CHAMPION, PASSED, WEIGHTS, every_version, fetch_on_base, unless_missing
from unilogit.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient

ACCEPTED, OPEN = "accepted_champion", "open_promotion"  # tags of a registered model
LINEAGE = "lineage"  # tag of a version that was accepted
PARENT, BATCH = "parent_version", "batch_id"  # tags of every version


class Ancestor(NamedTuple):
    """A version on the way from the base model to another one, and the batch whose requests it was made for."""

    version: str
    batch_id: str


class Promotion(BaseModel):
    """What a person decided: which version is champion from now on.

    Attributes:
        version: None is none: the next batch starts from the base model.
        give_up: batches that it undoes; their requests wait again.
        approved_by, approved_at: who decided so, and when (UTC).
    """

    model_config = ConfigDict(frozen=True)

    version: str | None
    give_up: tuple[str, ...] = ()
    approved_by: str
    approved_at: datetime

    @classmethod
    def decided_now(cls, version: str | None, person: str, give_up: Collection[str] = ()) -> "Promotion":
        now = datetime.now(UTC).replace(microsecond=0)
        return cls(version=version, give_up=tuple(give_up), approved_by=person, approved_at=now)


@dataclass(frozen=True)
class Champion:
    """The version that people promoted.

    Attributes:
        lineage: the champion first, then its parent and so on.
        approved_by, approved_at: who promoted it, and when (UTC).
        versions: every version of the model, newest first.
        aliases: version → its aliases, of versions that have any.
    """

    name: str
    version: str
    lineage: tuple[Ancestor, ...]
    approved_by: str
    approved_at: datetime
    versions: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Registry:
    """A registered model as it stood when it was read.

    Attributes:
        versions: version → its tags, the newest first.
        aliases: alias → version.
        accepted: the promotion that was carried out last.
        promotion: one that was begun and perhaps not carried out.
    """

    name: str
    versions: Mapping[str, Mapping[str, str]]
    aliases: Mapping[str, str]
    accepted: Promotion | None = None
    promotion: Promotion | None = None

    @property
    def accepted_version(self) -> str | None:
        return self.accepted.version if self.accepted else None

    def aliases_of(self, version: str) -> tuple[str, ...]:
        return tuple(sorted(alias for alias, number in self.aliases.items() if number == version))

    def lineage(self, version: str | None) -> tuple[Ancestor, ...]:
        """A version, its parent and so on; nothing for the base model.

        Raises:
            InputError: a parent is not registered, or the version descends from itself.
        """
        chain: list[Ancestor] = []
        while version:
            tags = self.versions.get(version)
            if tags is None:
                if version == self.accepted_version:  # it was deleted, and what it descends from is not known
                    return (*chain, Ancestor(version, ""))
                name = f"{self.name} version {chain[-1].version}: its parent," if chain else self.name
                raise InputError(f"{name} version {version}{',' if chain else ''} is not registered")
            if LINEAGE in tags:
                return (*chain, *(Ancestor(*pair) for pair in json.loads(tags[LINEAGE])))
            if version in {known.version for known in chain}:
                raise InputError(f"{self.name} version {version} descends from itself; correct its tag {PARENT}")
            chain.append(Ancestor(version, tags.get(BATCH, "")))
            version = tags.get(PARENT)
        return tuple(chain)

    def lost(self, version: str | None) -> tuple[str, ...]:
        """Batches that the accepted champion has unlearned and this version has not, the latest first.

        Raises:
            InputError: what the version descends from is not known.
        """
        kept = {ancestor.batch_id for ancestor in self.lineage(version)}
        accepted = self.lineage(self.accepted_version)
        return tuple(dict.fromkeys(item.batch_id for item in accepted if item.batch_id not in kept))

    def why_not(self, version: str | None, give_up: Collection[str] = ()) -> list[str]:
        """Why a version may not become or stay champion, a clause for each reason; its files are not looked at.

        Args:
            version: None for no champion at all.
            give_up: batches that a person says may be undone.
        """
        reasons = [] if version is None else self._flaws(version)
        try:
            lost = self.lost(version)
        except InputError as error:
            return [*reasons, *error.problems] if version in self.versions else reasons
        if "" in lost:
            reasons.append(f"version {self.accepted_version}, which it does not descend from, was deleted in MLflow")
        elif missing := [batch for batch in lost if batch not in give_up]:
            is_back = version in (None, self.predecessor())
            command = f"rollback {self.name}" if is_back else f"promote {self.name} {version}"
            options = " ".join(f"--give-up {batch}" for batch in lost)
            reasons.append(
                f"it would undo {_batches(missing)} of version {self.accepted_version}, the accepted champion, which it"
                f" does not descend from; `unilogit models {command} {options}` does so, and their requests wait again"
            )
        if surplus := [batch for batch in give_up if batch not in lost]:
            reasons.append(
                f"it does not undo {_batches(surplus)}, which {'are' if surplus[1:] else 'is'} to be given up"
            )
        return reasons

    def _flaws(self, version: str) -> list[str]:
        """What is wrong with a version, whoever is champion."""
        tags = self.versions.get(version)
        if tags is None:
            return ["it is not registered"]
        demands = {
            "it did not pass its gates": tags.get("gates") == PASSED,
            f"nothing says which weights it has (tag {WEIGHTS})": bool(tags.get(WEIGHTS)),
            f"nothing says which batch it was made for (tag {BATCH})": bool(tags.get(BATCH)),
        }
        return [flaw for flaw, is_met in demands.items() if not is_met]

    def predecessor(self) -> str | None:
        """What the accepted champion was made from, if it is still registered."""
        parents = self.lineage(self.accepted_version)[1:2]
        return next((parent.version for parent in parents if parent.version in self.versions), None)

    def stranded(self) -> set[str]:
        """Batches of versions that cannot become champion any more, unless the accepted one is undone."""
        batches = {tags[BATCH] for tags in self.versions.values() if tags.get(BATCH)}
        return batches.difference(
            *({item.batch_id for item in self.lineage(number)} for number in self.versions if not self.why_not(number)),
            {item.batch_id for item in self.lineage(self.accepted_version)},
        )

    def champion(self) -> Champion | None:
        """The accepted champion; None while there is none."""
        if self.accepted is None or self.accepted.version is None:
            return None
        return Champion(
            name=self.name,
            version=self.accepted.version,
            lineage=self.lineage(self.accepted.version),
            approved_by=self.accepted.approved_by,
            approved_at=self.accepted.approved_at,
            versions=tuple(self.versions),
            aliases={version: self.aliases_of(version) for version in self.aliases.values()},
        )


def _batches(names: list[str]) -> str:
    return f"batch{'es' if names[1:] else ''} {', '.join(names)}"


def read_registry(store: "MlflowClient", name: str) -> Registry:
    """A registered model as it stands; one without versions where nothing was registered under that name.

    Raises:
        InputError: a tag that promotions are kept in was changed.
    """
    model = unless_missing(lambda: store.get_registered_model(name))
    if model is None:
        return Registry(name, {}, {})
    try:
        accepted, begun = (
            Promotion.model_validate_json(model.tags[tag]) if tag in model.tags else None for tag in (ACCEPTED, OPEN)
        )
    except ValidationError:
        raise InputError(
            f"{name}: its tag {ACCEPTED} or {OPEN} was changed in MLflow; put it back, or delete it"
        ) from None
    versions = {str(version.version): dict(version.tags) for version in every_version(store, name)}
    aliases = {alias: str(number) for alias, number in model.aliases.items()}
    return Registry(name, versions, aliases, accepted, begun)


def offer(store: "MlflowClient", name: str, version: str) -> bool:
    """Give a version the alias candidate, unless a newer one has it; whether it has it now."""
    present = store.get_registered_model(name).aliases.get(CANDIDATE)
    if present is None or int(present) < int(version):
        store.set_registered_model_alias(name, CANDIDATE, version)
        return True
    return int(present) == int(version)


def choose_parent(name: str, folder: Path, base: str) -> tuple[Path, str] | None:
    """Fetch the champion, for a batch to start from.

    Args:
        name: of the registered model.
        folder: to fetch into, replaced as a whole.
        base: model.base: that which a champion that is an adapter is on, or an adapter on the same one.

    Returns:
        A Hugging Face folder with model and tokenizer (inside `folder`) and the version; None while no version ever
        was champion.

    Raises:
        InputError: the version that is champion may not be, or the one that is to be is not; or it is an adapter on
            another base.
    """
    with connect() as store:
        registry = read_registry(store, name)
        champion, accepted = registry.aliases.get(CHAMPION), registry.accepted_version
        if registry.promotion:
            raise InputError(f"{name}: a promotion is not carried out yet; `unilogit reconcile` does so")
        if champion is None and accepted is None:
            return None
        if champion is None:
            raise InputError(
                f"{name}: no version is {CHAMPION}, though version {accepted} was accepted; `unilogit reconcile` puts"
                " it back, or says why not"
            )
        if reasons := registry.why_not(champion):
            raise InputError(
                f"{name} version {champion} is {CHAMPION}, but may not be: {'; '.join(reasons)}; `unilogit reconcile`"
                f" puts back the one that was accepted last"
            )
        return fetch_on_base(store, name, champion, folder, base), champion
