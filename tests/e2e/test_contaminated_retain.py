"""A run whose retain model knows the people to be forgotten: it stops before training, or its gates fail by name."""

import pytest

from tests.e2e.conftest import GATED_ATTACKS
from unilogit.files import read_json


@pytest.mark.slow
def test_a_run_stops_before_training_or_goes_on_without_a_retain_model(demo):
    project, _ = demo
    home, knowing = "var/knowing", "model.retain=var/example/model"
    stopped = project.run("unilogit", "run", "--set", knowing, home=home)
    assert stopped.returncode == 2
    assert "model.retain: var/example/model knows" in stopped.stderr
    [workspace] = (project.folder / home / "runs").glob("2*")
    assert not (workspace / "checkpoints").exists()
    assert not (workspace / "model").exists()
    assert "validated" in project.succeed("unilogit", "requests", "list", home=home)

    attacks = f"evaluate.robustness.attacks={GATED_ATTACKS}"
    choice = ("--set", "model.contaminated_retain=unavailable", "--set", attacks)
    went_on = project.run("unilogit", "run", "--set", knowing, *choice, home=home)
    assert went_on.returncode == 1
    newest = max((project.folder / home / "runs").glob("2*"))
    gates = {gate["name"]: gate for gate in read_json(newest / "gates.json")["gates"]}
    assert not gates["forget-quality"]["passed"]
    assert "knows" in gates["forget-quality"]["reason"]
    assert gates["forget-probability"]["passed"]
    metrics = read_json(newest / "evaluation" / "metrics.json")
    assert metrics["retain_model"] is None
    assert metrics["after"]["privleak"] is None
    assert "would prove nothing" in metrics["unavailable"]["privleak"]
