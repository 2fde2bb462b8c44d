"""The two functions of `blocks` in Triton: each reads its block once and allocates nothing of its size.

Chosen on CUDA where they work (`elementwise`); the matrix products stay with cuBLAS. Checked in Triton's
interpreter, and against the plain functions at first use on each device; not timed on a GPU. Arithmetic is
float32.
"""
# mypy: disable-error-code="no-untyped-def, import-not-found"

import torch
import triton
import triton.language as tl
from torch import Tensor

from unilogit.kernels.blocks import BlockScores
from unilogit.kernels.spec import HeadSpec

USES_SCRATCH = False
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
    exponentials = tl.full((), 0.0, tl.float32)
    target_value = tl.full((), 0.0, tl.float32)
    for start in range(0, columns, WIDTH):
        column = start + tl.arange(0, WIDTH)
        valid = column < columns
        logits = tl.load(raw + row * columns + column, mask=valid, other=0.0)
        logits = _shape(logits, softcap, logit_scale, HAS_SOFTCAP, HAS_SCALE)
        is_target = valid & (column == target)
        target_value += tl.sum(tl.where(is_target, logits, 0.0), 0)
        logits = tl.where(valid & (column != target), logits, float("-inf"))
        bound = tl.maximum(top, tl.max(logits, 0))
        exponentials = exponentials * tl.exp(top - bound) + tl.sum(tl.exp(logits - bound), 0)
        top = bound
    tl.store(largest + row, top)
    tl.store(total + row, exponentials)
    tl.store(target_logit + row, target_value)


@triton.jit
def _gradient_kernel(
    raw,
    local,
    largest,
    coefficient,
    target_gradient,
    columns,
    softcap,
    logit_scale,
    HAS_SOFTCAP: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    valid = column < columns
    place = raw + row * columns + column
    logits = _shape(tl.load(place, mask=valid, other=0.0), softcap, logit_scale, HAS_SOFTCAP, HAS_SCALE)
    is_target = column == tl.load(local + row)
    # Without the mask the target's exponential could overflow before it is replaced.
    softmax = tl.exp(tl.where(is_target, float("-inf"), logits - tl.load(largest + row)))
    gradient = -tl.load(coefficient + row) * softmax
    if HAS_SOFTCAP:
        share = logits / softcap
        gradient = gradient * (1 - share * share)
    gradient = tl.where(is_target, tl.load(target_gradient + row), gradient)
    tl.store(place, gradient.to(raw.dtype.element_ty), mask=valid)


def scan(raw: Tensor, local: Tensor, spec: HeadSpec, scratch: Tensor) -> BlockScores:
    """As `blocks.scan`; `raw` must be contiguous."""
    scores = BlockScores(*(scratch.new_empty(raw.shape[0]) for _ in range(3)))
    with torch.cuda.device_of(raw):
        _scan_kernel[(raw.shape[0],)](raw, local, *scores, raw.shape[1], **_options(spec))
    return scores


def to_gradient_(
    raw: Tensor,
    local: Tensor,
    largest: Tensor,
    coefficient: Tensor,
    target_gradient: Tensor,
    spec: HeadSpec,
    scratch: Tensor,
) -> None:
    """As `blocks.to_gradient_`; `raw` must be contiguous."""
    rows, columns = raw.shape
    with torch.cuda.device_of(raw):
        _gradient_kernel[(rows, triton.cdiv(columns, WIDTH))](
            raw, local, largest, coefficient, target_gradient, columns, **_options(spec)
        )


def _options(spec: HeadSpec) -> dict[str, float]:
    return {
        "softcap": 1.0 if spec.softcap is None else float(spec.softcap),
        "logit_scale": 1.0 if spec.logit_scale is None else float(spec.logit_scale),
        "HAS_SOFTCAP": spec.softcap is not None,
        "HAS_SCALE": spec.logit_scale is not None,
        "WIDTH": WIDTH,
    }
