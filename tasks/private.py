"""Files for their owner's eyes only: how those that are not are found, and closed.

What a process of ours makes is private by its umask (`tasks`). This is for what was there before, and for what other
programs open again, as `dvc pull` does with its cache. Knows nothing of what is in a file.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_ANYBODY_ELSE = stat.S_IRWXG | stat.S_IRWXO


def open_to_others(folder: Path) -> Iterator[Path]:
    """The folder and all that is in it, where somebody else may read, write or enter it; no link is followed."""
    paths = [folder, *(Path(parent, name) for parent, *names in os.walk(folder) for name in (*names[0], *names[1]))]
    for path in paths:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # another process removed it
            continue
        if mode & _ANYBODY_ELSE and not stat.S_ISLNK(mode):
            yield path


def make_private(folder: Path) -> int:
    """Close to others what is open to them in a folder, and the folder.

    Returns:
        How many files and folders were open.

    Raises:
        PermissionError: one of them is another user's.
    """
    closed = 0
    for path in open_to_others(folder):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~_ANYBODY_ELSE)
        closed += 1
    return closed
