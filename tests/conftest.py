"""What every test shares: one thread a process, as several test processes share the cores."""

import os

import pytest

os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs the tests of a file, and one all that use the demo: what they share is made once."""
    for item in items:
        shares_demo = "demo" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("demo" if shares_demo else item.location[0]))
