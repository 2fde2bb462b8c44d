"""Which version may be champion, and what it descends from: the one place that knows lineage.

MLflow is imported inside functions.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.registry.connection import connect
from tasks.registry.versions import (
    APPROVED_AT,
    APPROVED_BY,
    CHAMPION,
    PASSED,
    version_with_alias,
    version_with_number,
)
from unilogit.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

IN_REGISTRY = "whoever set the alias in MLflow"


@dataclass(frozen=True)
class Ancestor:
    """A version on the way from the base model to the champion.

    Attributes:
        batch_id: the batch whose requests it was made for; empty for none.
        aliases: that it has.
    """

    version: str
    batch_id: str
    aliases: tuple[str, ...]


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
    aliases: dict[str, tuple[str, ...]]


def find_champion(name: str) -> Champion | None:
    """The champion of a registered model, once it is known who promoted it; None while there is none.

    A champion whose alias was set elsewhere than by `unilogit models promote` is marked, once, with the time at which
    it was first seen.

    Raises:
        InputError: it may not be champion: its gates did not pass, or it names a parent that is not registered.
    """
    with connect() as store:
        champion = version_with_alias(store, name, CHAMPION)
        if champion is None:
            return None
        if champion.tags.get("gates") != PASSED:
            raise InputError(
                f"{name} version {champion.version} is {CHAMPION}, but did not pass its gates;"
                f" give alias {CHAMPION} to another version"
            )
        aliases = _aliases(store, name)
        lineage = _lineage(store, champion, aliases)
        tags = _approval(store, champion)
        versions = [int(known.version) for known in store.search_model_versions(f"name = '{name}'")]
    return Champion(
        name=name,
        version=str(champion.version),
        lineage=lineage,
        approved_by=tags[APPROVED_BY],
        approved_at=datetime.fromisoformat(tags[APPROVED_AT]),
        versions=tuple(str(number) for number in sorted(versions, reverse=True)),
        aliases=aliases,
    )


def _aliases(store: "MlflowClient", name: str) -> dict[str, tuple[str, ...]]:
    """Version → its aliases."""
    aliases = store.get_registered_model(name).aliases
    return {
        str(version): tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(version)))
        for version in aliases.values()
    }


def _lineage(
    store: "MlflowClient", version: "ModelVersion", aliases: dict[str, tuple[str, ...]]
) -> tuple[Ancestor, ...]:
    lineage = [version]
    while parent := lineage[-1].tags.get("parent_version"):
        if parent in {str(known.version) for known in lineage}:
            raise InputError(f"{version.name} version {parent} descends from itself; correct its tag parent_version")
        known = version_with_number(store, version.name, parent)
        if known is None:
            raise InputError(
                f"{version.name} version {lineage[-1].version}: its parent, version {parent}, is not registered"
            )
        lineage.append(known)
    return tuple(
        Ancestor(str(item.version), item.tags.get("batch_id", ""), aliases.get(str(item.version), ()))
        for item in lineage
    )


def _approval(store: "MlflowClient", champion: "ModelVersion") -> dict[str, str]:
    """Who promoted it and when, marked on the version."""
    tags = dict(champion.tags)
    if APPROVED_AT not in tags:
        seen = {APPROVED_BY: IN_REGISTRY, APPROVED_AT: datetime.now(UTC).isoformat(timespec="seconds")}
        for tag, value in seen.items():
            store.set_model_version_tag(champion.name, str(champion.version), tag, value)
        tags |= seen
    return tags
