"""log p and log(1 − p) of each target as tensors in the graph, without [N, V] logits, on any device.

For losses that couple tokens (a sum over a sequence inside a sigmoid, say). Backward takes any gradient
of the two outputs and computes the logits anew: four matrix products. A loss of each token by itself is
cheaper through `fused`. The scheme is that of Wijmans et al. 2024 (arXiv 2411.09009).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unilogit.kernels.head import Head, RowScores


class ChunkedTargetLogProb(torch.autograd.Function):
    """(head, hidden, weight, target, bias) → (log p, log(1 − p)); arguments checked by the caller."""

    @staticmethod
    def forward(
        ctx: Any, head: Head, hidden: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # The head holds weight and bias too, but only those passed here belong to the graph.
        parts = [head.score(hidden[rows], target[rows]) for rows in head.row_chunks(target.shape[0])]
        empty = hidden.new_empty(0, dtype=head.wide)
        scores = (
            RowScores(*(torch.cat(part) for part in zip(*parts, strict=True))) if parts else RowScores(*[empty] * 5)
        )
        ctx.save_for_backward(hidden, weight, target, bias, *scores)
        ctx.cut = (head.softcap, head.logit_scale, head.chunk, head.elementwise)
        return scores.log_p.clone(), scores.log_complement.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_log_p: Tensor, of_log_complement: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, target, bias, *saved = ctx.saved_tensors
        with torch.autocast(hidden.device.type, enabled=False):
            head = Head(weight, bias, *ctx.cut)
            _, wants_hidden, wants_weight, _, wants_bias = ctx.needs_input_grad
            gradients = head.new_gradients(hidden, (wants_hidden, wants_weight, wants_bias))
            at_logit = RowScores(*saved).logit_gradient(of_log_p, of_log_complement)
            for rows in head.row_chunks(target.shape[0]):
                scores = RowScores(*(part[rows] for part in saved))
                head.add_gradients(gradients, rows, hidden[rows], target[rows], scores, at_logit[rows])
        of_hidden, of_weight, of_bias = gradients.cast(weight, bias)
        return None, of_hidden, of_weight, None, of_bias
