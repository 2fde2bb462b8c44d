"""How a command ends when its input cannot be used. Imports nothing heavy, for `--help` is to be instant."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import typer

from unilogit.errors import InputError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def tells_bad_input(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, whose InputError becomes one "error: …" line a problem on stderr and exit code 2."""

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            for problem in error.problems:
                typer.echo(f"error: {problem}", err=True)
            sys.exit(2)

    return run
