"""Registered versions: which there are, and promoting one that passed its gates."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from tasks.tracking import CHAMPION, client
from unilogit.errors import InputError

TAGS = ("gates", "batch_id", "requests", "parent_version")


def print_versions(name: str, console: Console | None = None) -> None:
    """Print every version of a registered model, newest first.

    Raises:
        InputError: nothing was registered under that name yet.
    """
    registry = client()
    with _missing_means(f"no model {name} is registered yet; `unilogit run` registers the first version"):
        aliases = registry.get_registered_model(name).aliases
    table = Table("version", "alias", "gates", "batch", "requests", "parent", title=name, title_justify="left")
    versions = registry.search_model_versions(f"name = '{name}'")
    for version in sorted(versions, key=lambda item: -int(item.version)):
        names = ", ".join(sorted(alias for alias, number in aliases.items() if str(number) == str(version.version)))
        table.add_row(str(version.version), names, *(version.tags.get(tag, "") for tag in TAGS))
    (console or Console()).print(table)


def promote(name: str, version: int) -> str:
    """Give a version the alias champion.

    Raises:
        InputError: there is no such version, or its gates did not pass.
    """
    registry = client()
    with _missing_means(f"{name} has no version {version}; `unilogit models list` shows what there is"):
        found = registry.get_model_version(name, str(version))
    if found.tags.get("gates") != "passed":
        raise InputError(
            f"{name} version {version} did not pass its gates and may not be promoted;"
            " its description in MLflow says why"
        )
    registry.set_registered_model_alias(name, CHAMPION, str(version))
    return f"{name} version {version} is champion; the next run starts from it"


@contextmanager
def _missing_means(problem: str) -> Iterator[None]:
    """Raise InputError(problem) when the registry says that something does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(problem) from None
