"""A step's function as a command: `python -m tasks.<step> --workspace … --…`.

Every parameter becomes an option of the same name. Knows nothing of what any step does.
"""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer

from unilogit.errors import InputError


def run_command(function: Callable[..., object]) -> None:
    """Run `function` with the command line's options, then print one line about what it returns.

    An InputError becomes one "error: …" line a problem on stderr and exit code 2. The folder given
    as `--workspace` is made when it is missing.
    """

    @wraps(function)
    def command(**options: Any) -> None:
        try:
            if "workspace" in options:
                _make_folder(options["workspace"])
            typer.echo(str(function(**options)))
        except InputError as error:
            for problem in error.problems:
                typer.echo(f"error: {problem}", err=True)
            sys.exit(2)

    command.__signature__ = _as_options(function)  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=(inspect.getdoc(function) or "").split("\n\n")[0])(command)
    app()


def _as_options(function: Callable[..., object]) -> inspect.Signature:
    signature = inspect.signature(function, eval_str=True)
    return signature.replace(
        parameters=[
            parameter
            if get_origin(parameter.annotation) is Annotated
            else parameter.replace(annotation=Annotated[parameter.annotation, typer.Option()])
            for parameter in signature.parameters.values()
        ]
    )


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made a folder ({error.strerror}); choose another --workspace") from error
