"""What every test shares: one thread a process, as several test processes share the cores; the commands' path; and
temporary files in memory where there is room, so that no test waits for the disk."""

import os
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30  # bytes; a whole run leaves a third of it


def _has_room() -> bool:
    if not os.access(MEMORY, os.W_OK | os.X_OK):
        return False
    there = os.statvfs(MEMORY)
    runs_programs = not there.f_flag & os.ST_NOEXEC
    return runs_programs and min(there.f_bavail * there.f_frsize, psutil.virtual_memory().available) > ROOM


# Commands are found beside this interpreter, as when the environment is active.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["OMP_NUM_THREADS"] = "1"
if "TMPDIR" not in os.environ and _has_room():
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None  # may have been looked up


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))
