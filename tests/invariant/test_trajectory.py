"""One committed trajectory of losses that every way of working through the same run has to trace."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from torch import nn

from tests.invariant import plain
from tests.invariant.problem import TERMS, build_model, build_trainer, losses
from tests.training.test_processes import free_port

REFERENCE = np.array([[row[term] for term in TERMS] for row in json.loads(plain.REFERENCE.read_text())])
TOLERANCE = 1e-4  # relative; processors round differently, and AdamW carries that on


def traces(trajectory, reference=REFERENCE):
    return trajectory.shape == reference.shape and np.allclose(trajectory, reference, rtol=TOLERANCE, atol=0)


def test_it_forgets_and_retains():
    assert REFERENCE.shape == (8, 3)
    assert REFERENCE[-1, 2] < 0.9 * REFERENCE[0, 2]
    assert np.ptp(REFERENCE[:, 1]) > 100 * TOLERANCE * REFERENCE[:, 1].max()


@pytest.mark.parametrize("accumulation", [1, 2, 8])
def test_a_batch_in_parts(accumulation):
    assert traces(losses(build_trainer(accumulation=accumulation).run()))


def test_a_loop_written_by_hand():
    task, model = build_trainer(), build_model()
    assert traces(plain.train(model, model.parameters(), task.examples, task.config))


@pytest.mark.slow
def test_two_processes():
    environment = os.environ | {"PYTHONPATH": ".", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.invariant.test_trajectory"],
            env=environment | {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        output, _ = rank.communicate(timeout=600)
        assert rank.returncode == 0
        assert traces(np.array(json.loads(output.splitlines()[-1])))


def test_adapters_written_by_hand():
    task = build_trainer(lora_rank=2)
    adapters = {}
    for name, module in task.model.get_base_model().named_modules():
        if hasattr(module, "lora_A"):
            parts = (module.lora_A["default"].weight, module.lora_B["default"].weight)
            adapters[name] = [nn.Parameter(part.detach().clone()) for part in parts]
    assert len(adapters) == 2 * 7
    model = build_model()
    plain.add_adapters(model, adapters)
    by_hand = plain.train(model, [part for pair in adapters.values() for part in pair], task.examples, task.config)
    trajectory = losses(task.run())
    assert traces(trajectory, by_hand)
    assert not traces(trajectory)


@pytest.mark.parametrize(
    "knobs",
    [{"retain_weight": 0.505}, {"learning_rate": 5.05e-3}, {"unilogit": {"direction": "forward"}}],
    ids=str,
)
def test_one_per_cent_is_another_trajectory(knobs):
    assert not traces(losses(build_trainer(**knobs).run()))


if __name__ == "__main__":
    print(json.dumps(losses(build_trainer().run()).tolist()))
