"""The processes that a `unilogit up` started, and those that they started in turn, told by a variable they inherit.

Knows nothing of what they do. Processes of other users, and of other machines, are never seen.
"""

import os
import secrets
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_MARK = "UNILOGIT_UP"
_FLOW_RUN = "PREFECT__FLOW_RUN_ID"  # what Prefect tells the process of a flow run, and what that one starts


def new_token() -> str:
    """What tells the processes of one `unilogit up` from those of an earlier one."""
    return secrets.token_hex(8)


def mark(home: Path, token: str, child: str) -> dict[str, str]:
    """The variable by which a child, and all that it starts, are found again."""
    return {_MARK: f"{token} {child} {home}"}


@dataclass(frozen=True)
class Marked:
    """A process that belongs to a `unilogit up`.

    Attributes:
        token: of the `unilogit up`.
        child: the name of the child that it is, or that it comes from.
        flow_run: the id of the flow run that it works for, if any.
    """

    process: psutil.Process
    token: str
    child: str
    flow_run: str | None


def marked(home: Path, token: str | None = None, child: str | None = None) -> list[Marked]:
    """The living processes of a home; of one `unilogit up`, of one of its children. This process is left out."""
    living = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
        except (psutil.Error, OSError):  # another user's, or ended meanwhile
            continue
        value = environment.get(_MARK, "").split(" ", 2)
        if len(value) == 3 and value[2] == str(home) and token in (None, value[0]) and child in (None, value[1]):
            living.append(Marked(process, value[0], value[1], environment.get(_FLOW_RUN)))
    return living


def end(processes: Iterable[psutil.Process], patience: float = 10) -> int:
    """End processes: asked first, killed after `patience` seconds, the stopped ones at once. How many there were."""
    living = list(processes)
    for process in living:
        try:
            stopped = process.status() == psutil.STATUS_STOPPED
            process.send_signal(signal.SIGKILL if stopped else signal.SIGTERM)
        except psutil.Error:
            continue
    for process in psutil.wait_procs(living, timeout=patience)[1]:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(living, timeout=5)
    return len(living)
