"""Registered versions: which there are, and promoting one that passed its gates."""

from rich.console import Console
from rich.table import Table

from tasks.tracking import client
from unilogit.errors import InputError

CHAMPION = "champion"


def print_versions(name: str) -> None:
    """Print every version of a registered model, newest first.

    Raises:
        InputError: nothing was registered under that name yet.
    """
    from mlflow.exceptions import MlflowException

    registry = client()
    try:
        aliases = registry.get_registered_model(name).aliases
    except MlflowException:
        raise InputError(f"no model {name} is registered yet; `unilogit run` registers the first version") from None
    table = Table("version", "alias", "gates", "batch", "requests", "parent", title=name, title_justify="left")
    versions = registry.search_model_versions(f"name = '{name}'")
    for version in sorted(versions, key=lambda item: -int(item.version)):
        names = ", ".join(alias for alias, number in aliases.items() if str(number) == str(version.version))
        tags = version.tags
        table.add_row(
            str(version.version), names, *(tags.get(tag, "") for tag in ("gates", "batch_id", "requests", "parent_version"))
        )
    Console().print(table)


def promote(name: str, version: int) -> str:
    """Give a version the alias champion.

    Raises:
        InputError: there is no such version, or its gates did not pass.
    """
    from mlflow.exceptions import MlflowException

    registry = client()
    try:
        found = registry.get_model_version(name, str(version))
    except MlflowException:
        raise InputError(f"{name} has no version {version}; `unilogit models list` shows what there is") from None
    if found.tags.get("gates") != "passed":
        raise InputError(
            f"{name} version {version} did not pass its gates and may not be promoted; its description in MLflow says why"
        )
    registry.set_registered_model_alias(name, CHAMPION, str(version))
    return f"{name} version {version} is champion; the next run starts from it"
