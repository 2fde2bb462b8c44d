"""From hidden states and a language-model head to the log-probability of each target.

`target_log_prob` gives log p and log(1 − p) as tensors in the graph; `fused_target_loss` gives a loss of
each token and its gradients in one pass. Knows no method of unlearning.
"""

from typing import Literal

import torch
from torch import Tensor

from unilogit.kernels import reference
from unilogit.kernels.chunked import ChunkedTargetLogProb
from unilogit.kernels.fused import FusedLoss, RowLoss, every_row, fused_target_loss, rows_where
from unilogit.kernels.head import Chunk
from unilogit.kernels.prepare import prepare
from unilogit.kernels.reference import TargetLogProb, target_log_prob_from_logits

__all__ = [
    "Chunk",
    "FusedLoss",
    "RowLoss",
    "TargetLogProb",
    "every_row",
    "fused_target_loss",
    "rows_where",
    "target_log_prob",
    "target_log_prob_from_logits",
]


def target_log_prob(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    softcap: float | None = None,
    logit_scale: float | None = None,
    implementation: Literal["reference", "chunked", "triton"] | None = None,
    chunk: Chunk | None = None,
) -> TargetLogProb:
    """log p and log(1 − p) of each target under the language-model head.

    Args:
        hidden: [N, H], float64, float32, bfloat16 or float16; N may be 0.
        weight: [V, H], V ≥ 2, whole: inside an FSDP module, from its forward.
        target: [N], int64 in [0, V).
        bias: [V] or None.
        softcap: logits become softcap·tanh(logits / softcap) (Gemma 2), or None.
        logit_scale: logits are multiplied by it before the softcap (Cohere, Granite), or None.
        implementation: "reference" (plain PyTorch, holds [N, V] logits), "chunked" (any device; the
            default), or "triton" (chunked, with the element-wise work in Triton on CUDA).
        chunk: how "chunked" and "triton" cut the logits; None for the default of the device.

    Returns:
        TargetLogProb of [N] each, float32, or float64 for float64.

    Raises:
        ValueError: for shapes that do not fit, a target outside the vocabulary, V < 2, or Triton missing.
        TypeError: for a sharded weight.
    """
    if implementation == "reference":
        return reference.target_log_prob(hidden, weight, target, bias, softcap, logit_scale)
    head = prepare(hidden, weight, target, bias, softcap, logit_scale, implementation, chunk)
    with torch.autocast(hidden.device.type, enabled=False):
        return TargetLogProb(*ChunkedTargetLogProb.apply(head, hidden, weight, target, bias))
