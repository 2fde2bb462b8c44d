"""What runs in place of a module's forward, with and without a wrapper for several processes around it."""

import os

import pytest
import torch
from torch import distributed, multiprocessing, nn

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


def averaged_gradients(_rank, folder):
    """In a process that just ends: freeing DDP may wait forever for a thread of its group, which waits for the GIL."""
    store = distributed.FileStore(f"{folder}/store", 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    inner = nn.Linear(2, 1, bias=False)
    wrapper = nn.parallel.DistributedDataParallel(inner)
    reduced = []
    wrapper.register_comm_hook(
        None, lambda _, bucket: reduced.append(bucket.buffer().clone()) or _done(bucket.buffer())
    )
    run_as_forward(wrapper, lambda factor: factor * inner.weight.square().sum(), 3.0).backward()
    assert "forward" not in vars(inner)
    torch.save((reduced, inner.weight.detach()), f"{folder}/reduced.pt")
    os._exit(0)


def test_ddp_averages_the_gradients_of_what_runs_in_its_modules_forward(tmp_path):
    multiprocessing.spawn(averaged_gradients, (str(tmp_path),), nprocs=1)
    [reduced], weight = torch.load(tmp_path / "reduced.pt")
    torch.testing.assert_close(reduced, 6 * weight.flatten())


def _done(value):
    future = torch.futures.Future()
    future.set_result(value)
    return future
