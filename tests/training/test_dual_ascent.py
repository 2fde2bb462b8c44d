"""The weight of a retain term under a limit: what a step is worth with it, and that a resumed run goes on from it."""

import shutil

import pytest

from tests.training.tiny import FORGET, largest_difference, tiny_model, tiny_trainer, weights
from unilogit.losses.pdu import Pdu

STEERED = {"method": "pdu", "retain_weight": 2.0, "epochs": 4}


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("limit", [0.3, 100.0])
def test_each_steps_loss_has_the_weight_that_the_steps_before_come_to(limit, accumulation):
    knobs = Pdu(retain_limit=limit, dual_rate=0.5, warmup=0.25)
    history = tiny_trainer(tiny_model(), pdu=knobs, accumulation=accumulation, **STEERED).run()
    steps = [entry for entry in history if "forget_loss" in entry]
    assert len(steps) == 4 * len(FORGET) / 4
    weight, used = 2.0, []
    for entry in steps:
        assert entry["loss"] == pytest.approx(entry["forget_loss"] + weight * entry["retain_loss"], rel=1e-4)
        used.append(weight)
        if entry["step"] > 0.25 * len(steps):
            weight = max(0.0, weight + 0.5 * (entry["retain_loss"] - limit))
    assert used[:3] == [2.0, 2.0, 2.0]
    assert used[-1] == 0 if limit == 100 else used[-1] > 2


def test_a_resumed_run_goes_on_with_the_weight_that_it_had(tmp_path):
    knobs = STEERED | {"pdu": Pdu(dual_rate=0.5, warmup=0.0)}
    unbroken, resumed = tiny_model(), tiny_model()
    first = tiny_trainer(unbroken, tmp_path / "one", **knobs)
    first.run()
    checkpoints = sorted((tmp_path / "one").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert len(checkpoints) > 1
    shutil.copytree(checkpoints[0], tmp_path / "two" / checkpoints[0].name)
    second = tiny_trainer(resumed, tmp_path / "two", **knobs)
    second.run()
    assert second.retain_weight == first.retain_weight > 2
    assert largest_difference(weights(unbroken), weights(resumed)) == 0
