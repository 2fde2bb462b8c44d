"""The time that `unilogit plan` tells of measuring and attacking, beside what a run of the same took."""

import json

import pytest

from tasks.workspace import Place, Workspace

pytestmark = pytest.mark.slow
STEPS = ("attack", "evaluate")
LEAST = 5  # seconds that a step takes, however little there is to do


def seconds_of_steps(workspace):
    """Step → how long after the stamp before it its own was written."""
    stamps = sorted(workspace.path(Place.STAMPS).glob("*.json"), key=lambda file: file.stat().st_mtime)
    times = [file.stat().st_mtime for file in stamps]
    return {file.stem: end - begin for file, begin, end in zip(stamps[1:], times, times[1:], strict=False)}


def test_the_time_of_measuring_that_is_told_is_near_what_it_took(demo):
    project, _ = demo
    batch = Workspace(min((project.folder / "var" / "runs").glob("2*")))  # others are of other tests
    forgotten = json.loads(batch.path(Place.METRICS).read_text())["after"]["forget"]["n"]
    plan = json.loads(project.succeed("unilogit", "plan", "--forget", str(int(forgotten)), "--output", "json"))
    took = seconds_of_steps(batch)
    times = {step: (plan["seconds"][step], took[step]) for step in STEPS}
    assert all(told < 3 * real and real < 3 * told + LEAST for told, real in times.values()), times
