"""Registered versions on the terminal: all of them, one, or two side by side; as JSON for programs.

Changes nothing. MLflow is imported inside functions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tasks.registry.connection import connect
from tasks.registry.lineage import BATCH, PARENT, Registry, read_registry
from tasks.registry.versions import CHAMPION, unless_missing, why_not_whole
from tasks.report.console import wide_console
from tasks.report.names import number
from tasks.workspace import Place
from unilogit.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Listed:
    """A version in a list.

    Attributes:
        why_not: why it may not become or stay champion, a clause each.
    """

    version: str
    aliases: tuple[str, ...]
    gates: str
    batch_id: str
    requests: str
    parent: str
    why_not: list[str]


@dataclass(frozen=True)
class Details:
    """All that the registry and its run say of a version.

    Attributes:
        lineage: of versions, itself first.
        gates: name → verdict, value and what was demanded.
        counts: of data, by what was counted.
        links: what → its URL, or its id where there is no server.
    """

    version: str
    aliases: tuple[str, ...]
    why_not: list[str]
    lineage: list[str]
    tags: Mapping[str, str]
    gates: Mapping[str, str]
    counts: Mapping[str, int]
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    links: Mapping[str, str]


def print_versions(name: str, as_json: bool = False, console: Console | None = None) -> None:
    """Print every version of a registered model, the newest first, and whether it may be champion; files unread.

    Raises:
        InputError: nothing was registered under that name yet.
    """
    with connect() as store:
        registry = _registry(store, name)
    rows = [_listed(registry, version) for version in registry.versions]
    if as_json:
        _print_json(*map(asdict, rows))
        return
    columns = ("version", "alias", "gates", "batch", "requests", "parent", "may be champion")
    table = Table(*columns, title=name, title_justify="left")
    for row in rows:
        verdict = f"no: {'; '.join(row.why_not)}" if row.why_not else "yes"
        told = CHAMPION if verdict == "yes" and row.version == registry.accepted_version else verdict
        table.add_row(row.version, ", ".join(row.aliases), row.gates, row.batch_id, row.requests, row.parent, told)
    (console or wide_console()).print(table)


def print_version(name: str, version: str, as_json: bool = False, console: Console | None = None) -> None:
    """Print all that is known of a version; its files are read.

    Raises:
        InputError: there is no such version.
    """
    with connect() as store:
        registry = _registry(store, name)
        details = _details(store, registry, version)
    if as_json:
        _print_json(asdict(details))
        return
    facts = Table("", "", title=f"{name} version {version}", title_justify="left", show_header=False)
    facts.add_row("aliases", ", ".join(details.aliases) or "none")
    facts.add_row("may be champion", f"no: {'; '.join(details.why_not)}" if details.why_not else "yes")
    facts.add_row("descends from", " ← ".join([*details.lineage, "base model"]))
    for title, value in {**details.links, **details.tags}.items():
        facts.add_row(title.replace("_", " "), value)
    output = console or wide_console()
    output.print(facts)
    for title, values in {"gates": details.gates, "data": details.counts, "metrics": details.metrics}.items():
        output.print(_table(title, ("",), {key: [value] for key, value in values.items()}))


def print_difference(
    name: str, versions: tuple[str, str], as_json: bool = False, console: Console | None = None
) -> None:
    """Print two versions side by side: parameters that differ, and every gate, count and metric.

    Raises:
        InputError: one of them does not exist.
    """
    with connect() as store:
        registry = _registry(store, name)
        first, second = (_details(store, registry, version) for version in versions)
    sections = {
        "params": _side_by_side(first.params, second.params, differing=True),
        "gates": _side_by_side(first.gates, second.gates),
        "data": _side_by_side(first.counts, second.counts),
        "metrics": _side_by_side(first.metrics, second.metrics),
    }
    if as_json:
        _print_json({"versions": versions, **sections})
        return
    for title, rows in sections.items():
        (console or wide_console()).print(_table(title, [f"version {version}" for version in versions], rows))


def _registry(store: "MlflowClient", name: str) -> Registry:
    registry = read_registry(store, name)
    if not registry.versions:
        raise InputError(f"no model {name} is registered yet; `unilogit run` registers the first version")
    return registry


def _listed(registry: Registry, version: str) -> Listed:
    tags = registry.versions[version]
    gates, batch_id, requests, parent = (tags.get(tag, "") for tag in ("gates", BATCH, "requests", PARENT))
    aliases, reasons = registry.aliases_of(version), registry.why_not(version)
    return Listed(version, aliases, gates, batch_id, requests, parent, reasons)


def _details(store: "MlflowClient", registry: Registry, version: str) -> Details:
    if version not in registry.versions:
        raise InputError(f"{registry.name} has no version {version}; `unilogit models list` shows what there is")
    known = store.get_model_version(registry.name, version)
    flaw = why_not_whole(store, registry.name, version)
    try:
        lineage = [ancestor.version for ancestor in registry.lineage(version)]
    except InputError:  # why_not says so
        lineage = [version]
    run_id = known.run_id or ""
    run = unless_missing(lambda: store.get_run(run_id)) if run_id else None
    return Details(
        version=version,
        aliases=registry.aliases_of(version),
        why_not=[*registry.why_not(version), *([flaw] if flaw else [])],
        lineage=lineage,
        tags=registry.versions[version],
        gates={
            verdict["name"]: f"{'passed' if verdict['passed'] else 'failed'}: {number(verdict['value'])}"
            f" {verdict['op']} {verdict['threshold']:g}"
            for verdict in (_logged(run_id, Place.GATES).get("gates", []) if run else [])
        },
        counts=_logged(run_id, Place.EXTRACTION) if run else {},
        metrics=run.data.metrics if run else {},
        params=run.data.params if run else {},
        links=_links(store.tracking_uri, registry.name, version, run.info.experiment_id if run else "", run_id),
    )


def _logged(run_id: str, place: Place) -> dict[str, Any]:
    """A JSON file that was logged with a run; empty where there is none."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.artifacts.load_dict(f"runs:/{run_id}/{Path(place).name}")
    except (MlflowException, OSError):
        return {}


def _links(server: str, name: str, version: str, experiment: str, run_id: str) -> dict[str, str]:
    if not server.startswith(("http://", "https://")):
        return {"run": run_id}
    page = f"{server.rstrip('/')}/#"
    return {
        "page": f"{page}/models/{name}/versions/{version}",
        "run": f"{page}/experiments/{experiment}/runs/{run_id}" if experiment else "",
    }


def _side_by_side(
    first: Mapping[str, object], second: Mapping[str, object], differing: bool = False
) -> dict[str, list[object]]:
    pairs = {key: [first.get(key), second.get(key)] for key in sorted({*first, *second})}
    return {key: pair for key, pair in pairs.items() if not differing or pair[0] != pair[1]}


def _table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[object]]) -> Table:
    table = Table("", title=title, title_justify="left", show_header=any(columns))
    for column in columns:
        table.add_column(column, justify="right")
    for key, values in rows.items():
        table.add_row(key, *map(_text, values))
    return table


def _text(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    return "–" if value is None else str(value)


def _print_json(*values: Mapping[str, object]) -> None:
    for value in values:
        print(json.dumps(value, ensure_ascii=False))
