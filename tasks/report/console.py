"""Where tables are printed: as wide as the window, or as wide as they are where there is none."""

import sys

from rich.console import Console

_NO_WINDOW = 10_000  # columns


def wide_console() -> Console:
    """A console that cuts nothing off when its output is piped."""
    return Console(width=None if sys.stdout.isatty() else _NO_WINDOW)
