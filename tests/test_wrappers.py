"""What runs in place of a module's forward, with and without a wrapper for several processes around it."""

import pytest
import torch
from torch import distributed, nn

from unilogit.wrappers import run_as_forward


def scaled(factor, *, by):
    return factor * by


def test_it_returns_what_the_function_does_and_leaves_the_module_as_it_was():
    module = nn.Linear(2, 2)
    assert run_as_forward(module, scaled, 3, by=4) == 12
    assert "forward" not in vars(module)
    assert module(torch.zeros(1, 2)).shape == (1, 2)


def test_a_forward_of_the_instances_own_is_back_afterwards_even_after_an_error():
    module = nn.Linear(2, 2)
    module.forward = lambda: "its own"
    assert run_as_forward(module, lambda: run_as_forward(module, lambda: "inner") + " in outer") == "inner in outer"
    with pytest.raises(ZeroDivisionError):
        run_as_forward(module, lambda: 1 / 0)
    assert module() == "its own"


def test_hooks_of_the_module_notice_the_call():
    module, calls = nn.Linear(2, 2), []
    module.register_forward_hook(lambda *_: calls.append("hook"))
    run_as_forward(module, scaled, 3, by=4)
    assert calls == ["hook"]


def test_ddp_averages_the_gradients_of_what_runs_in_its_modules_forward(tmp_path):
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    try:
        inner = nn.Linear(2, 1, bias=False)
        wrapper = nn.parallel.DistributedDataParallel(inner)
        reduced = []
        wrapper.register_comm_hook(
            None, lambda _, bucket: reduced.append(bucket.buffer().clone()) or _done(bucket.buffer())
        )
        run_as_forward(wrapper, lambda factor: factor * inner.weight.square().sum(), 3.0).backward()
        assert "forward" not in vars(inner)
        torch.testing.assert_close(reduced[0], 6 * inner.weight.detach().flatten())
    finally:
        distributed.destroy_process_group()


def _done(value):
    future = torch.futures.Future()
    future.set_result(value)
    return future
