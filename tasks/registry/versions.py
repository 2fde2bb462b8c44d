"""Versions of the registered model: which there are, which may be champion, fetching the one that is.

Knows nothing of how a version came about; that is tasks/registry/run.py. MLflow is imported inside functions.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tasks.registry.connection import client, connect
from tasks.report.console import wide_console
from unilogit.errors import InputError
from unilogit.files import atomic_folder, sha256_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CANDIDATE = "champion", "candidate"  # aliases
PASSED, FAILED = "passed", "failed"  # what tag `gates` says
APPROVED_BY, APPROVED_AT = "approved_by", "approved_at"  # tags of a version that was promoted
REGISTRATION = "registration"  # the tag by which a run and its version are found again

_LISTED = ("gates", "batch_id", "requests", "parent_version")  # tags
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # how the registry says so


def print_versions(name: str, console: Console | None = None) -> None:
    """Print every version of a registered model, newest first.

    Raises:
        InputError: nothing was registered under that name yet.
    """
    store = client()
    with _missing_means(f"no model {name} is registered yet; `unilogit run` registers the first version"):
        aliases = store.get_registered_model(name).aliases
    table = Table("version", "alias", "gates", "batch", "requests", "parent", title=name, title_justify="left")
    for version in sorted(store.search_model_versions(f"name = '{name}'"), key=_number, reverse=True):
        names = ", ".join(sorted(alias for alias, number in aliases.items() if int(number) == _number(version)))
        table.add_row(str(version.version), names, *(version.tags.get(tag, "") for tag in _LISTED))
    (console or wide_console()).print(table)


def _number(version: "ModelVersion") -> int:
    return int(version.version)


def promote(name: str, version: int, person: str) -> str:
    """Give a version the alias champion; what follows from that, in a sentence.

    Args:
        person: who does so, for the version's tags and the certificates.

    Raises:
        InputError: there is no such version, or its gates did not pass.
    """
    store = client()
    with _missing_means(f"{name} has no version {version}; `unilogit models list` shows what there is"):
        tags = store.get_model_version(name, str(version)).tags
    if tags.get("gates") != PASSED:
        raise InputError(
            f"{name} version {version} did not pass its gates and may not be promoted;"
            " its description in MLflow says why"
        )
    approval = {APPROVED_BY: person, APPROVED_AT: datetime.now(UTC).isoformat(timespec="seconds")}
    for tag, value in approval.items():
        store.set_model_version_tag(name, str(version), tag, value)
    store.set_registered_model_alias(name, CHAMPION, str(version))
    return (
        f"{name} version {version} is champion; the next run starts from it."
        " Next: `unilogit reconcile` closes its requests and writes their certificates"
    )


@contextmanager
def _missing_means(problem: str) -> Iterator[None]:
    """Raise InputError(problem) when the registry says that something does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        raise InputError(problem) from None


def find_version(store: "MlflowClient", name: str, registration: str) -> "ModelVersion | None":
    """The version that an earlier call registered."""
    versions = store.search_model_versions(f"name = '{name}' and tags.{REGISTRATION} = '{registration}'")
    return min(versions, key=_number, default=None)


def create_version(
    store: "MlflowClient", name: str, run: "Run", model_id: str, tags: Mapping[str, str]
) -> "ModelVersion":
    """Register the logged model of a run as the next version."""
    from mlflow.exceptions import MlflowException

    try:
        store.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model_id}"
    return store.create_model_version(name, source, run_id=run.info.run_id, tags=dict(tags), model_id=model_id)


def champion_model(name: str, folder: Path) -> tuple[Path, str] | None:
    """Fetch the version with alias `champion`; one that was fetched before and is intact is not fetched again.

    Args:
        name: of the registered model.
        folder: to fetch into, replaced as a whole.

    Returns:
        A Hugging Face folder with model and tokenizer (inside `folder`) and the version; None when no version is
        champion.

    Raises:
        InputError: the version failed its gates, holds no transformers model, or its weights are not the
            registered ones.
    """
    with connect() as store:
        champion = version_with_alias(store, name, CHAMPION)
        if champion is None:
            return None
        title, remedy = f"{name} version {champion.version}", f"give alias {CHAMPION} to another version"
        if champion.tags.get("gates") == FAILED:
            raise InputError(f"{title}: it is {CHAMPION}, but did not pass its gates; {remedy}")
        return fetch(store, name, str(champion.version), folder), str(champion.version)


def fetch(store: "MlflowClient", name: str, version: str, folder: Path) -> Path:
    """Fetch the model of a version; one that was fetched before and is whole is not fetched again.

    Args:
        folder: to fetch into, replaced as a whole.

    Returns:
        A Hugging Face folder with model and tokenizer, inside `folder`.

    Raises:
        InputError: the version holds no transformers model, or its weights are not the registered ones.
    """
    title = f"{name} version {version}"
    registered, model = store.get_model_version(name, version).tags.get("weights_sha256"), folder / "model"
    if not registered or sha256_weights(model) != registered:
        import mlflow

        with atomic_folder(folder) as fetched:
            mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=str(fetched))
            _gather_tokenizer(fetched, title)
            if registered and sha256_weights(fetched / "model") != registered:
                raise InputError(
                    f"{title}: its weights are not those that were registered (tag weights_sha256); give alias"
                    f" {CHAMPION} to another version or register it again"
                )
    return model


def version_with_alias(store: "MlflowClient", name: str, alias: str) -> "ModelVersion | None":
    return unless_missing(lambda: store.get_model_version_by_alias(name, alias))


def version_with_number(store: "MlflowClient", name: str, number: str) -> "ModelVersion | None":
    return unless_missing(lambda: store.get_model_version(name, number))


def unless_missing(ask: "Callable[[], ModelVersion]") -> "ModelVersion | None":
    """What the registry answers; None when it says that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        return None


def _gather_tokenizer(folder: Path, title: str) -> None:
    """Put the tokenizer, which MLflow keeps apart, beside the weights."""
    if not (folder / "model" / "config.json").is_file():
        raise InputError(
            f"{title}: not a transformers model; log it with mlflow.transformers.log_model or choose another champion"
        )
    tokenizer = folder / "components" / "tokenizer"
    if tokenizer.is_dir():
        shutil.copytree(tokenizer, folder / "model", dirs_exist_ok=True)
