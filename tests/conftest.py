"""What every test shares: one thread a process, as several test processes share the cores; the commands' path; and
more time for the slow ones."""

import os
import sys
from pathlib import Path

import pytest

# Commands are found beside this interpreter, as when the environment is active.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))
