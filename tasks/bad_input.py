"""How a command ends when its input cannot be used, or when something that may pass is in its way.

Imports nothing heavy, for `--help` is to be instant.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer

from unilogit.errors import InputError, TemporaryError

BAD, TRY_AGAIN = 2, 75  # exit codes; the second is that of sysexits.h

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def tells_bad_input(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, whose InputError and TemporaryError become "error: …" lines on stderr and an exit code."""

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            for problem in error.problems:
                typer.echo(f"error: {problem}", err=True)
            sys.exit(BAD)
        except TemporaryError as error:
            typer.echo(f"error: {error}", err=True)
            sys.exit(TRY_AGAIN)

    return run
