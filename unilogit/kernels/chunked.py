"""log p and log(1 − p) of each target as tensors in the graph, without [N, V] logits, on any device.

For losses that couple tokens far apart (a sum over a batch inside a sigmoid, say). Backward takes any gradient
of the two outputs and computes the logits anew: four matrix products. A loss of each token, or of each group
of tokens, is cheaper through `fused`. The scheme is that of Wijmans et al. 2024 (arXiv 2411.09009).
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unilogit.kernels.context import Context
from unilogit.kernels.head import Head, RowScores


class ChunkedTargetLogProb(torch.autograd.Function):
    """(head, hidden, weight, target, bias) → (log p, log(1 − p)); arguments checked by the caller."""

    @staticmethod
    def forward(
        ctx: Context, head: Head, hidden: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # The head holds weight and bias too, but only those passed here belong to the graph.
        scores = RowScores(*(hidden.new_empty(target.shape, dtype=head.wide) for _ in RowScores._fields))
        for rows in head.plan.row_chunks:
            for column, values in zip(scores, head.score(hidden[rows], target[rows]), strict=True):
                column[rows] = values
        ctx.save_for_backward(hidden, weight, target, bias, *scores)
        ctx.spec, ctx.plan = replace(head.spec, bias=None), head.plan
        return scores.log_p.clone(), scores.log_complement.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad_log_p: Tensor, grad_log_complement: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, target, bias, *saved = ctx.saved_tensors
        with torch.autocast(hidden.device.type, enabled=False):
            head = Head(weight, replace(ctx.spec, bias=bias), ctx.plan)
            _, wants_hidden, wants_weight, _, wants_bias = ctx.needs_input_grad
            gradients = head.new_gradients(hidden, (wants_hidden, wants_weight, wants_bias))
            logit_gradient = RowScores(*saved).logit_gradient(grad_log_p, grad_log_complement)
            for rows in ctx.plan.row_chunks:
                scores = RowScores(*(values[rows] for values in saved))
                head.add_gradients(gradients, rows, hidden[rows], target[rows], scores, logit_gradient[rows])
        grad_hidden, grad_weight, grad_bias = gradients.cast(weight, bias)
        return None, grad_hidden, grad_weight, None, grad_bias
