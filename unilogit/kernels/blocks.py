"""Element-wise work on one block of logits, [rows, columns of the vocabulary], in plain PyTorch.

The softmax is always taken over the tokens other than the target, q_i = p_i / (1 − p): then a gradient
with respect to the logits is c at the target and −c·q_i elsewhere, without a cancellation as p → 1.
Knows nothing of heads, losses or autograd; `triton_blocks` has the same two functions for CUDA.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from unilogit.kernels.spec import HeadSpec

USES_SCRATCH = True


class BlockScores(NamedTuple):
    """What one block adds to a row's score; each [rows], float32 or float64.

    Attributes:
        largest: maximum over the block's columns other than the target.
        total: Σ exp(logit − largest) over the same columns.
        target_logit: the target's logit where the block holds it, else 0.
    """

    largest: Tensor
    total: Tensor
    target_logit: Tensor


class Elementwise(Protocol):
    """A module with the two functions below.

    Attributes:
        USES_SCRATCH: whether they write to `scratch`; otherwise it gives only a dtype, and may be empty.
    """

    USES_SCRATCH: bool

    def scan(self, raw: Tensor, local: Tensor, spec: HeadSpec, scratch: Tensor) -> BlockScores: ...

    def to_gradient_(
        self,
        raw: Tensor,
        local: Tensor,
        largest: Tensor,
        coefficient: Tensor,
        target_gradient: Tensor,
        spec: HeadSpec,
        scratch: Tensor,
    ) -> None: ...


def scan(raw: Tensor, local: Tensor, spec: HeadSpec, scratch: Tensor) -> BlockScores:
    """Maximum and sum of exponentials of a block without its targets.

    Args:
        raw: [rows, columns], hidden·weightᵀ + bias; unchanged on return.
        local: [rows], int64, the target's column in this block; outside [0, columns) when elsewhere.
        spec: the softcap and scale of `raw`.
        scratch: float32 or float64, at least rows·columns elements, overwritten.
    """
    logits = _shape(raw, spec, scratch)
    is_target, column = _locate(local, raw.shape[1])
    value = logits.gather(1, column)
    logits.scatter_(1, column, value.masked_fill(is_target, float("-inf")))
    # The lower clamp keeps a block that holds nothing but its target at exp(−inf) = 0 rather than NaN.
    largest = logits.amax(dim=1).clamp_min(torch.finfo(scratch.dtype).min)
    total = torch.sub(logits, largest[:, None], out=_like(raw, scratch)).exp_().sum(dim=1)
    if logits is raw:
        raw.scatter_(1, column, value)
    return BlockScores(largest, total, value.masked_fill(~is_target, 0.0).squeeze(1))


def to_gradient_(
    raw: Tensor,
    local: Tensor,
    largest: Tensor,
    coefficient: Tensor,
    target_gradient: Tensor,
    spec: HeadSpec,
    scratch: Tensor,
) -> None:
    """Overwrite a block of logits with the gradient with respect to hidden·weightᵀ + bias.

    Args:
        raw: [rows, columns], overwritten: −coefficient·exp(logit − largest)·(slope of the softcap),
            and `target_gradient` at the target.
        local: [rows], as in `scan`.
        largest: [rows], the largest logit other than the target.
        coefficient: [rows], divided by Σ exp(logit − largest) over the tokens other than the target.
        target_gradient: [rows].
        spec: the softcap and scale of `raw`.
        scratch: float32 or float64, at least rows·columns elements, overwritten.
    """
    logits = _shape(raw, spec, scratch)
    slope = None if spec.softcap is None else 1 - (logits / spec.softcap).square_()
    logits.sub_(largest[:, None]).exp_().mul_(-coefficient[:, None])
    if slope is not None:
        logits.mul_(slope)
    is_target, column = _locate(local, raw.shape[1])
    logits.scatter_(1, column, torch.where(is_target, target_gradient[:, None], logits.gather(1, column)))
    if logits is not raw:
        raw.copy_(logits)


def _shape(raw: Tensor, spec: HeadSpec, scratch: Tensor) -> Tensor:
    """The logits in the dtype of `scratch`: `raw` itself when there is nothing to do to it."""
    if raw.dtype == scratch.dtype and spec.softcap is None and spec.logit_scale is None:
        return raw
    logits = _like(raw, scratch).copy_(raw)
    if spec.logit_scale is not None:
        logits.mul_(spec.logit_scale)
    if spec.softcap is not None:
        logits.div_(spec.softcap).tanh_().mul_(spec.softcap)
    return logits


def _like(raw: Tensor, scratch: Tensor) -> Tensor:
    return scratch[: raw.numel()].view(raw.shape)


def _locate(local: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Both [rows, 1]: whether the target is in this block, and its column there, or any column when it is not."""
    is_target = (local >= 0) & (local < columns)
    return is_target[:, None], local.clamp(0, columns - 1)[:, None]
