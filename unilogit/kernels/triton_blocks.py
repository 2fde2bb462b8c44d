"""The two functions of `blocks` in Triton: each reads its block once and allocates nothing of its size.

Selected by `implementation="triton"`; the matrix products stay with cuBLAS. Opt-in, because it has been
checked in Triton's interpreter and by its compiler, but not timed on a GPU. Arithmetic is float32.
"""
# mypy: disable-error-code="no-untyped-def, import-not-found"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from unilogit.kernels.blocks import BlockScores

WIDTH = 4096  # columns that one program holds in registers at a time


@triton.jit
def _shape(raw, softcap, logit_scale, HAS_SOFTCAP: tl.constexpr, HAS_SCALE: tl.constexpr):
    logits = raw.to(tl.float32)
    if HAS_SCALE:
        logits = logits * logit_scale
    if HAS_SOFTCAP:
        decay = tl.exp(-2 * tl.abs(logits / softcap))  # tanh by an exponential that cannot overflow
        size = softcap * (1 - decay) / (1 + decay)
        logits = tl.where(logits < 0, -size, size)
    return logits


@triton.jit
def _scan_kernel(
    raw,
    local,
    largest,
    total,
    target_logit,
    columns,
    softcap,
    logit_scale,
    HAS_SOFTCAP: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(local + row)
    top = tl.full((), -3.4028234663852886e38, tl.float32)
    sum_ = tl.full((), 0.0, tl.float32)
    found = tl.full((), 0.0, tl.float32)
    for start in range(0, columns, WIDTH):
        column = start + tl.arange(0, WIDTH)
        here = column < columns
        logits = tl.load(raw + row * columns + column, mask=here, other=0.0)
        logits = _shape(logits, softcap, logit_scale, HAS_SOFTCAP, HAS_SCALE)
        is_target = here & (column == target)
        found += tl.sum(tl.where(is_target, logits, 0.0), 0)
        logits = tl.where(here & (column != target), logits, float("-inf"))
        bound = tl.maximum(top, tl.max(logits, 0))
        sum_ = sum_ * tl.exp(top - bound) + tl.sum(tl.exp(logits - bound), 0)
        top = bound
    tl.store(largest + row, top)
    tl.store(total + row, sum_)
    tl.store(target_logit + row, found)


@triton.jit
def _gradient_kernel(
    raw,
    local,
    largest,
    coefficient,
    at_target,
    columns,
    softcap,
    logit_scale,
    HAS_SOFTCAP: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    here = column < columns
    place = raw + row * columns + column
    logits = _shape(tl.load(place, mask=here, other=0.0), softcap, logit_scale, HAS_SOFTCAP, HAS_SCALE)
    is_target = column == tl.load(local + row)
    # Without the mask the target's exponential could overflow before it is replaced.
    softmax = tl.exp(tl.where(is_target, float("-inf"), logits - tl.load(largest + row)))
    gradient = -tl.load(coefficient + row) * softmax
    if HAS_SOFTCAP:
        share = logits / softcap
        gradient = gradient * (1 - share * share)
    gradient = tl.where(is_target, tl.load(at_target + row), gradient)
    tl.store(place, gradient.to(raw.dtype.element_ty), mask=here)


def scan(raw: Tensor, local: Tensor, softcap: float | None, logit_scale: float | None, scratch: Tensor) -> BlockScores:
    """As `blocks.scan`; `raw` must be contiguous, and `scratch` gives only its dtype."""
    found = BlockScores(*(scratch.new_empty(raw.shape[0]) for _ in range(3)))
    with torch.cuda.device_of(raw):
        _scan_kernel[(raw.shape[0],)](raw, local, *found, raw.shape[1], **_shared(softcap, logit_scale))
    return found


def to_gradient_(
    raw: Tensor,
    local: Tensor,
    largest: Tensor,
    coefficient: Tensor,
    at_target: Tensor,
    softcap: float | None,
    logit_scale: float | None,
    scratch: Tensor,
) -> None:
    """As `blocks.to_gradient_`; `raw` must be contiguous, and `scratch` is not used."""
    rows, columns = raw.shape
    with torch.cuda.device_of(raw):
        _gradient_kernel[(rows, triton.cdiv(columns, WIDTH))](
            raw, local, largest, coefficient, at_target, columns, **_shared(softcap, logit_scale)
        )


def _shared(softcap: float | None, logit_scale: float | None) -> dict[str, Any]:
    return {
        "softcap": softcap or 1.0,
        "logit_scale": logit_scale or 1.0,
        "HAS_SOFTCAP": softcap is not None,
        "HAS_SCALE": logit_scale is not None,
        "WIDTH": WIDTH,
    }
