"""A language-model head taken block by block: scores of targets, and gradients, without [N, V] logits.

Knows how to multiply, and keep, blocks of tokens and vocabulary. Knows nothing of losses or autograd:
`chunked` and `fused` are the two ways of using it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from unilogit.kernels.blocks import Elementwise
from unilogit.kernels.spec import HeadSpec


@dataclass(frozen=True)
class Plan:
    """How one call is computed.

    Attributes:
        row_chunks: consecutive slices that make up the N rows, each computed at once.
        columns: tokens of the vocabulary at once.
        dtype: of the operands of the matrix products.
        elementwise: the functions for blocks.
    """

    row_chunks: list[slice]
    columns: int
    dtype: torch.dtype
    elementwise: Elementwise

    @property
    def rows(self) -> int:
        """Of the longest chunk."""
        return max((chunk.stop - chunk.start for chunk in self.row_chunks), default=0)


class RowScores(NamedTuple):
    """Each row's target under the head; each [rows], float32 or float64.

    Attributes:
        log_p: log p.
        log_complement: log(1 − p).
        largest: the largest logit other than the target.
        total: Σ exp(logit − largest) over the tokens other than the target. Apart from `largest`, because
            their logsumexp would keep few digits of it where logits are large.
        target_logit: the target's logit.
    """

    log_p: Tensor
    log_complement: Tensor
    largest: Tensor
    total: Tensor
    target_logit: Tensor

    def logit_gradient(self, grad_log_p: Tensor, grad_log_complement: Tensor) -> Tensor:
        """[rows], the gradient with respect to the target's logit, from those of the two outputs."""
        return grad_log_p * self.log_complement.exp() - grad_log_complement * self.log_p.exp()


@dataclass
class Gradients:
    """Sums of gradients, each None when not wanted: hidden [N, H], weight [V, H], bias [V]."""

    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None

    def cast(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The three in the dtypes of the tensors that they belong to."""
        return (
            self.hidden,
            None if self.weight is None else self.weight.to(weight.dtype),
            None if self.bias is None or bias is None else self.bias.to(bias.dtype),
        )


class Head:
    """The head of one call.

    Args:
        weight: [V, H].
        spec: its bias, softcap and scale.
        plan: how to compute it.
    """

    def __init__(self, weight: Tensor, spec: HeadSpec, plan: Plan) -> None:
        self.weight, self.spec, self.plan = weight, spec, plan
        self.wide = torch.promote_types(plan.dtype, torch.float32)
        vocabulary = weight.shape[0]
        width = -(-vocabulary // -(-vocabulary // plan.columns))
        self.columns = [slice(start, min(start + width, vocabulary)) for start in range(0, vocabulary, width)]
        size = plan.rows * width if plan.elementwise.USES_SCRATCH else 0
        self.scratch = torch.empty(size, dtype=self.wide, device=weight.device)

    def new_buffer(self) -> Tensor:
        """Room for all logits of one chunk of rows, for `score` to keep them in."""
        return torch.empty(self.plan.rows * self.weight.shape[0], dtype=self.plan.dtype, device=self.weight.device)

    def new_gradients(self, hidden: Tensor, wanted: tuple[bool, bool, bool]) -> Gradients:
        """Room for the gradients of hidden, weight and bias."""
        return Gradients(
            torch.empty_like(hidden) if wanted[0] else None,
            torch.zeros_like(self.weight, dtype=self.wide) if wanted[1] else None,
            self.weight.new_zeros(self.weight.shape[0], dtype=self.wide) if wanted[2] else None,
        )

    def score(self, hidden: Tensor, target: Tensor, buffer: Tensor | None = None) -> RowScores:
        """Score each row's target.

        Args:
            hidden: [rows, H], one of the plan's chunks.
            target: [rows], int64.
            buffer: from `new_buffer`, to keep the logits in for `add_gradients`; None throws them away.
        """
        hidden = hidden.to(self.plan.dtype)
        largest = hidden.new_full(target.shape, torch.finfo(self.wide).min, dtype=self.wide)
        total, target_logit = torch.zeros_like(largest), torch.zeros_like(largest)
        for columns in self.columns:
            logits = self._logits(hidden, columns, _view(buffer, target.shape[0], columns))
            block = self.plan.elementwise.scan(logits, target - columns.start, self.spec, self.scratch)
            bound = torch.maximum(largest, block.largest)
            total = total * (largest - bound).exp() + block.total * (block.largest - bound).exp()
            largest, target_logit = bound, target_logit + block.target_logit
        margin = (target_logit - largest) - total.log()
        return RowScores(logsigmoid(margin), logsigmoid(-margin), largest, total, target_logit)

    def add_gradients(
        self,
        gradients: Gradients,
        rows: slice,
        hidden: Tensor,
        target: Tensor,
        scores: RowScores,
        logit_gradient: Tensor,
        buffer: Tensor | None = None,
    ) -> None:
        """Add one chunk of rows to the gradients; no product is computed where its gradient is zero throughout.

        Args:
            gradients: from `new_gradients`.
            rows: where the chunk lies in the N rows.
            hidden: [rows, H], the same as for `score`.
            target: [rows], the same as for `score`.
            scores: what `score` returned.
            logit_gradient: [rows], with respect to the target's logit.
            buffer: with the logits that `score` kept, overwritten; None computes them anew.
        """
        if not logit_gradient.any():
            if gradients.hidden is not None:
                gradients.hidden[rows] = 0
            return
        hidden, count, spec = hidden.to(self.plan.dtype), target.shape[0], self.spec
        # 16-bit products see gradients of the order of 1, so that small ones do not underflow.
        unit = None
        if self.plan.dtype != self.wide:
            unit = logit_gradient.abs().amax().clamp_min(torch.finfo(self.wide).tiny)
        coefficient = logit_gradient if unit is None else logit_gradient / unit
        if spec.logit_scale is not None:
            coefficient = coefficient * spec.logit_scale
        slope = 1.0 if spec.softcap is None else 1 - (scores.target_logit / spec.softcap).square()
        hidden_gradient = None
        if gradients.hidden is not None:
            hidden_gradient = hidden.new_zeros((count, hidden.shape[1]), dtype=self.wide)
        for columns in self.columns:
            block = _view(buffer, count, columns)
            if block is None:
                block = self._logits(hidden, columns, None)
            self.plan.elementwise.to_gradient_(
                block,
                target - columns.start,
                scores.largest,
                coefficient / scores.total,
                coefficient * slope,
                spec,
                self.scratch,
            )
            if hidden_gradient is not None:
                _add_product(hidden_gradient, block, self.weight[columns].to(self.plan.dtype), unit)
            if gradients.weight is not None:
                _add_product(gradients.weight[columns], block.T, hidden, unit)
            if gradients.bias is not None:
                sums = block.sum(dim=0, dtype=self.wide)
                gradients.bias[columns] += sums if unit is None else unit * sums
        if gradients.hidden is not None and hidden_gradient is not None:
            gradients.hidden[rows] = hidden_gradient

    def _logits(self, hidden: Tensor, columns: slice, block: Tensor | None) -> Tensor:
        weight, bias = self.weight[columns].to(self.plan.dtype), self.spec.bias
        if block is None:
            block = hidden.new_empty(hidden.shape[0], weight.shape[0])
        if bias is None:
            return torch.mm(hidden, weight.T, out=block)
        return torch.addmm(bias[columns].to(self.plan.dtype), hidden, weight.T, out=block)


def _view(buffer: Tensor | None, rows: int, columns: slice) -> Tensor | None:
    """One block of a chunk's buffer; each block is contiguous, which the products prefer."""
    if buffer is None:
        return None
    return buffer[rows * columns.start : rows * columns.stop].view(rows, columns.stop - columns.start)


def _add_product(total: Tensor, left: Tensor, right: Tensor, unit: Tensor | None) -> None:
    """total += unit·(left @ right)."""
    if unit is None:
        torch.addmm(total, left, right, out=total)
    else:
        total.addcmul_(torch.mm(left, right).to(total.dtype), unit)
