"""Which element-wise functions suit a device: the plain ones of `blocks`, or those of `triton_blocks`."""

import logging
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from unilogit.kernels import blocks
from unilogit.kernels.blocks import Elementwise
from unilogit.kernels.spec import LINEAR, HeadSpec, Implementation

log = logging.getLogger(__name__)


def choose(implementation: Implementation | None, device: torch.device, dtype: torch.dtype) -> Elementwise:
    """The functions for blocks on a device.

    Args:
        implementation: "triton" insists on Triton, "chunked" does without, None takes what works.
        device: of the blocks.
        dtype: of the blocks.

    Raises:
        ValueError: where Triton is insisted on, but is not installed or the dtype is float64.
    """
    if implementation == "triton":
        return load_triton(dtype)
    if implementation is None and device.type == "cuda":
        return checked_triton(device, dtype)
    return blocks


def load_triton(dtype: torch.dtype) -> Elementwise:
    """Triton's functions, not tried out. Raises: ValueError, as `choose`."""
    if dtype == torch.float64:
        raise ValueError("Triton's functions compute in float32: choose implementation='chunked' for float64")
    if find_spec("triton") is None:
        raise ValueError("Triton is not installed: pip install triton, or choose implementation='chunked'")
    from unilogit.kernels import triton_blocks

    return triton_blocks


@cache
def checked_triton(device: torch.device, dtype: torch.dtype) -> Elementwise:
    """Triton's functions where they work, else the plain ones and a line in the log; tried out once."""
    try:
        functions = load_triton(dtype)
        check(functions, device, dtype)
    except Exception as error:  # a driver, a compiler or another version of Triton may raise anything
        reason = " ".join(str(error).split())
        log.warning(
            "the head works without Triton on %s in %s, more slowly: %s: %s",
            device,
            dtype,
            type(error).__name__,
            reason,
        )
        return blocks
    return functions


def check(functions: Elementwise, device: torch.device, dtype: torch.dtype) -> None:
    """Compare functions with the plain ones on a small block.

    Raises:
        RuntimeError: where they differ by more than rounding.
    """
    rows, columns = 3, 4099  # more than Triton's kernels take at once, and no multiple of anything
    raw = (8 * torch.arange(rows * columns, device=device, dtype=torch.float32).sin()).to(dtype).view(rows, columns)
    local = torch.tensor([1, columns - 1, -1], device=device)
    bound = max(1e-4, 4 * torch.finfo(dtype).eps)
    for spec in (LINEAR, HeadSpec(softcap=5.0, logit_scale=0.5)):
        pairs = zip(_outcome(functions, raw, local, spec), _outcome(blocks, raw, local, spec), strict=True)
        if not all(torch.allclose(actual, expected, rtol=bound, atol=bound) for actual, expected in pairs):
            raise RuntimeError("its results differ from those of plain PyTorch")


def _outcome(functions: Elementwise, raw: Tensor, local: Tensor, spec: HeadSpec) -> list[Tensor]:
    scratch = raw.new_empty(raw.numel() if functions.USES_SCRATCH else 0, dtype=torch.float32)
    gradient = raw.clone()
    scores = functions.scan(gradient, local, spec, scratch)
    coefficient = torch.ones_like(scores.largest)
    functions.to_gradient_(gradient, local, scores.largest, coefficient, 0.5 * coefficient, spec, scratch)
    return [*scores, gradient.float()]
