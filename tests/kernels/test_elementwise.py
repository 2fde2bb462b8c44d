"""Which element-wise functions are taken, and what the log says of it."""

import logging
from types import SimpleNamespace

import pytest
import torch

from unilogit.kernels import HeadSpec, blocks, elementwise, fused_target_loss, target_log_prob
from unilogit.kernels.elementwise import check, choose

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def never_tried_out():
    elementwise.checked_triton.cache_clear()
    yield
    elementwise.checked_triton.cache_clear()


def chosen_twice(caplog, dtype=torch.float32):
    """The functions taken on CUDA, and what was logged by two calls."""
    with caplog.at_level(logging.DEBUG, elementwise.__name__):
        functions = choose(None, CUDA, dtype)
        assert choose(None, CUDA, dtype) is functions
    return functions, [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("implementation", [None, "chunked"])
def test_plain_functions_on_a_processor_without_a_word(implementation, caplog):
    assert choose(implementation, torch.device("cpu"), torch.float32) is blocks
    assert not caplog.records


def test_plain_functions_on_cuda_where_they_are_asked_for(caplog):
    assert choose("chunked", CUDA, torch.float32) is blocks
    assert not caplog.records


def test_without_triton_one_line_says_so(monkeypatch, caplog):
    monkeypatch.setattr(elementwise, "find_spec", lambda name: None)
    functions, (line,) = chosen_twice(caplog)
    assert functions is blocks
    assert "cuda:0" in line
    assert "Triton is not installed" in line


def test_float64_is_left_to_plain_functions_and_one_line_says_so(caplog):
    functions, (line,) = chosen_twice(caplog, torch.float64)
    assert functions is blocks
    assert "float64" in line


def test_a_failing_check_is_told_in_one_line(monkeypatch, caplog):
    def broken(functions, device, dtype):
        raise RuntimeError("PassManager::run failed\nat line 7")

    monkeypatch.setattr(elementwise, "load_triton", lambda dtype: SimpleNamespace())
    monkeypatch.setattr(elementwise, "check", broken)
    functions, (line,) = chosen_twice(caplog)
    assert functions is blocks
    assert "RuntimeError: PassManager::run failed at line 7" in line


def test_functions_that_pass_the_check_are_taken_without_a_word(monkeypatch, caplog):
    candidate = SimpleNamespace()
    monkeypatch.setattr(elementwise, "load_triton", lambda dtype: candidate)
    monkeypatch.setattr(elementwise, "check", lambda functions, device, dtype: None)
    functions, lines = chosen_twice(caplog)
    assert functions is candidate
    assert not lines


def off_by_a_percent(raw, *arguments):
    blocks.to_gradient_(raw, *arguments)
    raw.mul_(1.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_check_passes_what_is_right(dtype):
    check(blocks, torch.device("cpu"), dtype)


@pytest.mark.parametrize(
    "changed",
    [
        {"to_gradient_": off_by_a_percent},
        {"to_gradient_": lambda *arguments: None},
        {"scan": lambda raw, local, spec, scratch: blocks.scan(raw, local, HeadSpec(), scratch)},
        {"scan": lambda raw, local, spec, scratch: blocks.scan(raw, local + 1, spec, scratch)},
    ],
)
def test_the_check_notices_what_is_wrong(changed):
    functions = SimpleNamespace(
        **{"USES_SCRATCH": True, "scan": blocks.scan, "to_gradient_": blocks.to_gradient_} | changed
    )
    with pytest.raises(RuntimeError, match="differ"):
        check(functions, torch.device("cpu"), torch.float32)


def test_insisting_on_triton_where_there_is_none(monkeypatch):
    monkeypatch.setattr(elementwise, "find_spec", lambda name: None)
    arguments = torch.zeros(1, 2), torch.zeros(3, 2), torch.tensor([0])
    spec = HeadSpec(implementation="triton")
    with pytest.raises(ValueError, match="pip install triton"):
        target_log_prob(*arguments, spec)
    with pytest.raises(ValueError, match="pip install triton"):
        fused_target_loss(*arguments, lambda scores, rows: scores.log_p, spec=spec)


def test_the_reference_is_no_one_pass_loss():
    with pytest.raises(ValueError, match="target_log_prob only"):
        fused_target_loss(
            torch.zeros(1, 2),
            torch.zeros(3, 2),
            torch.tensor([0]),
            lambda scores, rows: scores.log_p,
            spec=HeadSpec(implementation="reference"),
        )
