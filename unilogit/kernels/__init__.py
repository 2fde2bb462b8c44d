"""From hidden states and a language-model head to the log-probability of each target.

`target_log_prob` gives log p and log(1 − p) as tensors in the graph; `fused_target_loss` gives a loss of
each token and its gradients in one pass. Knows no method of unlearning.
"""

import torch
from torch import Tensor

from unilogit.kernels import reference
from unilogit.kernels.chunked import ChunkedTargetLogProb
from unilogit.kernels.chunks import group_chunks, group_means
from unilogit.kernels.fused import FusedLoss, RowLoss, every_row, fused_target_loss, rows_where
from unilogit.kernels.prepare import prepare
from unilogit.kernels.reference import TargetLogProb, head_logits, target_log_prob_from_logits
from unilogit.kernels.spec import LINEAR, Chunk, HeadSpec

__all__ = [
    "Chunk",
    "FusedLoss",
    "HeadSpec",
    "RowLoss",
    "TargetLogProb",
    "every_row",
    "fused_target_loss",
    "group_chunks",
    "group_means",
    "head_logits",
    "rows_where",
    "target_log_prob",
    "target_log_prob_from_logits",
]


def target_log_prob(hidden: Tensor, weight: Tensor, target: Tensor, spec: HeadSpec = LINEAR) -> TargetLogProb:
    """log p and log(1 − p) of each target under the language-model head, differentiable once.

    Args:
        hidden: [N, H], float64, float32, bfloat16 or float16; N may be 0.
        weight: [V, H], V ≥ 2, whole: inside an FSDP module, from its forward.
        target: [N], int64 in [0, V).
        spec: the head's bias, softcap and scale, and how to compute it.

    Returns:
        TargetLogProb of [N] each, float32, or float64 for float64.

    Raises:
        ValueError: for shapes that do not fit, a target outside the vocabulary, V < 2, or Triton where it is
            asked for and is not installed or the dtype is float64.
        TypeError: for a sharded weight.
    """
    if spec.implementation == "reference":
        return reference.target_log_prob(hidden, weight, target, spec)
    head = prepare(hidden, weight, target, spec)
    with torch.autocast(hidden.device.type, enabled=False):
        return TargetLogProb(*ChunkedTargetLogProb.apply(head, hidden, weight, target, spec.bias))
