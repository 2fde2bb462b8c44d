"""The tables of a published benchmark, from a folder of files or from the Hugging Face hub.

A table is known as "config" or "config/split", in the hub's words: in a folder, the file of that path (its
split is then "train" on the hub where none is named). Knows nothing of what any benchmark's tables mean.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from unilogit.data.records import explain
from unilogit.data.rows import first_problems, read_rows
from unilogit.errors import InputError
from unilogit.files import JsonObject

SUFFIXES = (".jsonl", ".json", ".parquet")  # .json: JSON lines too, as some of the hub's repositories name them
Text = Annotated[str, StringConstraints(min_length=1)]
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")


class TableRow(BaseModel):
    """The fields that a row must have; others are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True)


Kind = TypeVar("Kind", bound=TableRow)
Answer = TypeVar("Answer")


def read_table(source: Path | str, table: str, kind: type[Kind]) -> list[Kind]:
    """Read a table that must be wholly good.

    Args:
        source: a folder, or the name of a hub dataset such as "locuslab/TOFU".
        table: "config" or "config/split".
        kind: the fields of its rows.

    Raises:
        InputError: the table is missing, cannot be read or holds no rows, or one sentence for each of the
            first bad rows.
    """
    rows: list[Kind] = []
    problems: list[str] = []
    for place, fields, problem in _hub_rows(str(source), table) if _on_hub(source) else _folder_rows(source, table):
        if problem:
            problems.append(f"{place}: {problem}")
            continue
        try:
            rows.append(kind.model_validate({name: value for name, value in fields.items() if value is not None}))
        except ValidationError as error:
            problems.append(f"{place}: {'; '.join(explain(error))}")
    if problems:
        raise InputError(*first_problems(problems))
    if not rows:
        raise InputError(f"{source}: the table `{table}` is empty; get it again")
    return rows


def list_tables(source: Path | str, config: str = "") -> list[str]:
    """The names of a benchmark's tables by name; with `config`, those of its splits, none where it is not there.

    Raises:
        InputError: there is no such folder, and the hub has no such dataset or cannot be reached.
    """
    if _on_hub(source):
        names = set(_ask_hub(str(source), lambda hub: hub.get_dataset_config_names(str(source))))
        if config in names:
            names = set(_ask_hub(str(source), lambda hub: hub.get_dataset_split_names(str(source), config)))
        elif config:
            names = set()
    else:
        names = {_table_name(file) for file in _data_files(_existing(source) / config)}
    return sorted(f"{config}/{name}" if config else name for name in names)


def _on_hub(source: Path | str) -> bool:
    return not Path(source).exists() and _HUB_NAME.fullmatch(str(source)) is not None


def _existing(source: Path | str) -> Path:
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; correct the path, or name a hub dataset as owner/name")
    return folder


def _data_files(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if file.suffix.lower() in SUFFIXES]


def _table_name(file: Path) -> str:
    return _SHARD.sub("", file.stem)


def _table_files(folder: Path, table: str) -> list[Path]:
    """The file of a table, or all its shards in order."""
    path = folder / table
    files = [file for file in _data_files(path.parent) if _table_name(file) == path.name]
    if not files:
        raise InputError(f"{path}.jsonl: there is no such file, nor a .parquet; add it, or correct the path {folder}")
    shards = [match for file in files if (match := _SHARD.search(file.stem))]
    names = " and ".join(file.name for file in files)
    if len(files) > 1 and len(shards) < len(files):
        raise InputError(f"{path}: is there more than once ({names}); take away all but one")
    if shards and [int(shard[1]) for shard in shards] != list(range(int(shards[0][2]))):
        raise InputError(f"{path}: lacks shards, or has some twice ({names}); get the files again")
    return files


def _folder_rows(source: Path | str, table: str) -> Iterator[tuple[str, JsonObject, str]]:
    """The place of each row, its fields, and why it could not be read."""
    folder = _existing(source)
    for file in _table_files(folder, table):
        for row in read_rows(file):
            yield f"{file.relative_to(folder)}:{row.number}", row.fields or {}, row.problem


def _hub_rows(source: str, table: str) -> Iterator[tuple[str, JsonObject, str]]:
    config, _, split = table.partition("/")
    rows = _ask_hub(source, lambda hub: hub.load_dataset(source, config, split=split or "train"), table)
    for number, fields in enumerate(rows, start=1):
        yield f"{source}, {table}:{number}", fields, ""


def _ask_hub(source: str, question: Callable[[ModuleType], Iterable[Answer]], table: str = "") -> Iterable[Answer]:
    """What the question, asked of the package `datasets`, is answered with."""
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{source}: there is no such folder, and reading from the hub needs the package `datasets`; "
            "correct the path, or run: pip install datasets"
        ) from error
    try:
        return question(datasets)
    except Exception as error:  # what goes wrong on the way to the hub has no type in common
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        trouble = f"its table `{table}` cannot be read from the hub" if table else "the hub does not give it"
        raise InputError(
            f"{source}: there is no such folder, and {trouble} ({reason}); correct the name, connect to the "
            "network, or name a folder that holds its files"
        ) from error
