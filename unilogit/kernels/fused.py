"""A loss of each target's log p and log(1 − p), with its gradients, in one pass over the vocabulary.

For losses that are functions of `TargetLogProb`, token by token or group by group: their derivative is known
as soon as a chunk's logits are, so forward turns the logits into their gradient in place and multiplies at
once. Three matrix products (two with a frozen head, one where the derivative is zero), one chunk of logits in
memory, nothing computed twice; backward only scales. The scheme is that of fused cross-entropy (Hsu et al.
2024, arXiv 2410.10989). Knows no method by name. Double backward is not supported.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unilogit.kernels.context import Context
from unilogit.kernels.head import Head
from unilogit.kernels.prepare import prepare
from unilogit.kernels.reference import TargetLogProb
from unilogit.kernels.spec import LINEAR, HeadSpec

RowLoss = Callable[[TargetLogProb, slice], Tensor]
"""Loss of each token of one chunk: (log p and log(1 − p) of the chunk, the chunk's place in [0, N)) → [rows].
Each value may depend on the tokens of its own group only; without groups, on its own token. The gradient follows
whatever of that is not detached."""


class FusedLoss(NamedTuple):
    """Result of `fused_target_loss`.

    Attributes:
        total: scalar, Σ weight·loss, the only part with a gradient; float32 or float64.
        per_token: [N], the losses before weighting, detached.
        log_p: [N], log p of each target, detached.
    """

    total: Tensor
    per_token: Tensor
    log_p: Tensor


def every_row(loss: Callable[[TargetLogProb], Tensor]) -> RowLoss:
    """The same loss for every token."""
    return lambda target, rows: loss(target)


def rows_where(
    chosen: Tensor, loss: Callable[[TargetLogProb], Tensor], otherwise: Callable[[TargetLogProb], Tensor]
) -> RowLoss:
    """One loss for the chosen tokens, another for the rest: forget and retain in one call.

    Args:
        chosen: [N], bool.
        loss: of the chosen tokens.
        otherwise: of the others.
    """

    def mixed(target: TargetLogProb, rows: slice) -> Tensor:
        values = torch.zeros_like(target.log_p)
        for mask, function in ((chosen[rows], loss), (~chosen[rows], otherwise)):
            masked = TargetLogProb(target.log_p[mask], target.log_complement[mask])
            values = values.index_put((mask,), function(masked))
        return values

    return mixed


def fused_target_loss(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    loss: RowLoss,
    weights: Tensor | None = None,
    spec: HeadSpec = LINEAR,
    groups: Tensor | None = None,
) -> FusedLoss:
    """Weighted sum of per-token losses, differentiable in hidden, weight and bias.

    Args:
        hidden: [N, H], float64, float32, bfloat16 or float16; N may be 0.
        weight: [V, H], V ≥ 2, whole: inside an FSDP module, from its forward.
        target: [N], int64 in [0, V).
        loss: `every_row(f)`, `rows_where(mask, f, g)`, or a function (TargetLogProb, slice) → [rows].
            Tensors that it closes over receive no gradient.
        weights: [N], the weight of each token in the sum (1/N for a mean), or None for 1; no gradient.
            A factor put here costs nothing; one applied to the result costs a copy of the weight's gradient.
        spec: the head's bias, softcap and scale, and how to compute it.
        groups: [N], int64, non-decreasing, the group (the example, say) that each token belongs to: none is cut
            in two, so that a loss may look at all of it. A group longer than the chunk is held in memory at
            once. None where each token is a group by itself.

    Returns:
        FusedLoss; with N = 0 its total is 0, and so are the gradients.

    Raises:
        ValueError: for shapes that do not fit, a target outside the vocabulary, V < 2, groups that decrease, a
            loss that does not return one value a token, the implementation "reference", or Triton where it is
            asked for and is not installed or the dtype is float64.
        TypeError: for a sharded weight.
    """
    head = prepare(hidden, weight, target, spec, groups)
    if weights is not None and weights.shape != target.shape:
        raise ValueError(f"weights must be one a token, {tuple(target.shape)}, not {tuple(weights.shape)}")
    wants_gradient = torch.is_grad_enabled()
    with torch.autocast(hidden.device.type, enabled=False):
        return FusedLoss(
            *_FusedTargetLoss.apply(head, hidden, weight, target, spec.bias, loss, weights, wants_gradient)
        )


class _FusedTargetLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context,
        head: Head,
        hidden: Tensor,
        weight: Tensor,
        target: Tensor,
        bias: Tensor | None,
        loss: RowLoss,
        weights: Tensor | None,
        wants_gradient: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        needed = ctx.needs_input_grad if wants_gradient else [False] * 8
        wanted = (needed[1], needed[2], needed[4])
        per_token = hidden.new_empty(target.shape, dtype=head.wide)
        log_p = torch.empty_like(per_token)
        gradients = head.new_gradients(hidden, wanted)
        weights = None if weights is None else weights.detach().to(head.wide)
        buffer = head.new_buffer() if any(wanted) else None
        for rows in head.plan.row_chunks:
            scores = head.score(hidden[rows], target[rows], buffer)
            values, grad_log_p, grad_log_complement = _differentiate(
                loss,
                TargetLogProb(scores.log_p, scores.log_complement),
                rows,
                None if weights is None else weights[rows],
                any(wanted),
            )
            per_token[rows], log_p[rows] = values, scores.log_p
            if any(wanted):
                logit_gradient = scores.logit_gradient(grad_log_p, grad_log_complement)
                head.add_gradients(gradients, rows, hidden[rows], target[rows], scores, logit_gradient, buffer)
        ctx.save_for_backward(*gradients.cast(weight, bias))
        ctx.mark_non_differentiable(per_token, log_p)
        total = per_token.sum() if weights is None else (per_token * weights).sum()
        return total, per_token, log_p

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, upstream: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor | None, ...] = ctx.saved_tensors
        if upstream != 1:
            # Not in place: the graph may be kept for a second backward.
            saved = tuple(None if gradient is None else (gradient * upstream).to(gradient.dtype) for gradient in saved)
        grad_hidden, grad_weight, grad_bias = saved
        return None, grad_hidden, grad_weight, None, grad_bias, None, None, None


def _differentiate(
    loss: RowLoss, target: TargetLogProb, rows: slice, weights: Tensor | None, wants_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of each row of a chunk, and the derivatives of its weighted sum in log p and log(1 − p)."""
    with torch.set_grad_enabled(wants_gradient):
        leaves = [scores.detach().requires_grad_(wants_gradient) for scores in target]
        values = loss(TargetLogProb(*leaves), rows)
        if values.shape != target.log_p.shape:
            raise ValueError(
                f"the loss must return one value a token, {tuple(target.log_p.shape)}, not {tuple(values.shape)}"
            )
        gradients: tuple[Tensor | None, ...] = (None, None)
        if values.requires_grad:
            total = values.sum() if weights is None else (values * weights).sum()
            gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    grad_log_p, grad_log_complement = (
        torch.zeros_like(target.log_p) if gradient is None else gradient for gradient in gradients
    )
    return values.detach(), grad_log_p, grad_log_complement
