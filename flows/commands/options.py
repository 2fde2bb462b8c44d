"""What commands share: options, and how a command is registered."""

import getpass
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tasks.bad_input import tells_bad_input

ParamsFile = Annotated[Path, typer.Option("--params", help="The file with every knob.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one knob, e.g. --set unlearn.epochs=5. May be repeated."),
]
Person = Annotated[str | None, typer.Option("--by", help="Who decides, for the audit table; your login if not given.")]
PARAMS = Path("params.yaml")


class Output(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"


OutputKind = Annotated[Output, typer.Option("--output", help="A table for people, or JSON lines for programs.")]


def register(group: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command; bad input ends it with plain sentences and exit code 2."""
    return lambda function: group.command(name)(tells_bad_input(function))


def person(name: str | None) -> str:
    return name or getpass.getuser()
