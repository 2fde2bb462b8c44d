"""Element-wise work on one block of logits, [rows, columns of the vocabulary], in plain PyTorch.

The softmax is always taken over the tokens other than the target, q_i = p_i / (1 − p): then a gradient
with respect to the logits is c at the target and −c·q_i elsewhere, without a cancellation as p → 1.
Knows nothing of heads, losses or autograd; `triton_blocks` has the same two functions for CUDA.
"""

from typing import NamedTuple

import torch
from torch import Tensor


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


def scan(raw: Tensor, local: Tensor, softcap: float | None, logit_scale: float | None, scratch: Tensor) -> BlockScores:
    """Maximum and sum of exponentials of a block without its targets.

    Args:
        raw: [rows, columns], hidden·weightᵀ + bias; unchanged on return.
        local: [rows], int64, the target's column in this block; outside [0, columns) when elsewhere.
        softcap: as in `target_log_prob`.
        logit_scale: as in `target_log_prob`.
        scratch: [rows, columns], float32 or float64, overwritten.
    """
    logits = _shape(raw, softcap, logit_scale, scratch)
    inside, column = _locate(local, raw.shape[1])
    value = logits.gather(1, column)
    logits.scatter_(1, column, value.masked_fill(inside, float("-inf")))
    # The lower clamp keeps a block that holds nothing but its target at exp(−inf) = 0 rather than NaN.
    largest = logits.amax(dim=1).clamp_min(torch.finfo(scratch.dtype).min)
    total = torch.sub(logits, largest[:, None], out=scratch).exp_().sum(dim=1)
    if logits is raw:
        raw.scatter_(1, column, value)
    return BlockScores(largest, total, value.masked_fill(~inside, 0.0).squeeze(1))


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
    """Overwrite a block of logits with the gradient with respect to hidden·weightᵀ + bias.

    Args:
        raw: [rows, columns], overwritten: −coefficient·exp(logit − largest)·(slope of the softcap),
            and `at_target` at the target.
        local: [rows], as in `scan`.
        largest: [rows], the largest logit other than the target.
        coefficient: [rows], divided by Σ exp(logit − largest) over the tokens other than the target.
        at_target: [rows].
        softcap: as in `target_log_prob`.
        logit_scale: as in `target_log_prob`.
        scratch: [rows, columns], float32 or float64, overwritten.
    """
    logits = _shape(raw, softcap, logit_scale, scratch)
    slope = None if softcap is None else 1 - (logits / softcap).square_()
    logits.sub_(largest[:, None]).exp_().mul_(-coefficient[:, None])
    if slope is not None:
        logits.mul_(slope)
    inside, column = _locate(local, raw.shape[1])
    logits.scatter_(1, column, torch.where(inside, at_target[:, None], logits.gather(1, column)))
    if logits is not raw:
        raw.copy_(logits)


def _shape(raw: Tensor, softcap: float | None, logit_scale: float | None, scratch: Tensor) -> Tensor:
    """The logits in the dtype of `scratch`: `raw` itself when there is nothing to do to it."""
    if raw.dtype == scratch.dtype and softcap is None and logit_scale is None:
        return raw
    logits = scratch.copy_(raw)
    if logit_scale is not None:
        logits.mul_(logit_scale)
    if softcap is not None:
        logits.div_(softcap).tanh_().mul_(softcap)
    return logits


def _locate(local: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    inside = (local >= 0) & (local < columns)
    return inside[:, None], local.clamp(0, columns - 1)[:, None]
