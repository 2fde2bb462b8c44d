"""Command-line options that several steps share."""

from pathlib import Path
from typing import Annotated

import typer

ParamsFile = Annotated[Path, typer.Option("--params", help="The file with every knob.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override one knob: section.key=value. May be repeated.")
]
