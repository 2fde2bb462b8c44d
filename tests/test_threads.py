"""Threads that wait look a while, then sleep: asked of the OpenMP runtime itself, which prints what it works with."""

import os
import re
import subprocess
import sys

import pytest


def spin_count(program, **environment):
    """How often a waiting thread looks before it sleeps, as libgomp has it after `program`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=own | environment | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(re.search(r"GOMP_SPINCOUNT = '(\d+)'", found.stderr)[1])


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="torch brings libgomp on Linux")


@pytest.mark.parametrize("package", ["unilogit", "tasks"])
def test_threads_soon_sleep_where_the_package_comes_before_torch(package):
    assert spin_count(f"import {package}, torch") == 1000


def test_after_torch_it_is_too_late():
    assert spin_count("import torch, unilogit") > 1000


def test_a_setting_already_made_is_kept():
    assert spin_count("import unilogit, torch", GOMP_SPINCOUNT="777") == 777
    assert spin_count("import unilogit, torch", OMP_WAIT_POLICY="ACTIVE") > 1000
