"""A language-model head taken block by block: scores of targets, and gradients, without [N, V] logits.

Knows how to cut tokens and vocabulary into blocks that fit a cache and in which dtype to multiply them.
Knows nothing of losses or autograd: `chunked` and `fused` are the two ways of using it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from unilogit.kernels import blocks


@dataclass(frozen=True)
class Chunk:
    """How the [N, V] logits are cut.

    Attributes:
        rows: tokens at once.
        columns: tokens of the vocabulary at once.
        dtype: of the operands of the matrix products; sums are float32 or wider.
    """

    rows: int
    columns: int
    dtype: torch.dtype


def default_chunk(hidden: Tensor, weight: Tensor) -> Chunk:
    """The cut for these tensors: all logits of `rows` tokens fit the budget, a block fits the cache."""
    vocabulary, device = weight.shape[0], hidden.device.type
    dtype = torch.promote_types(hidden.dtype, weight.dtype)
    if torch.is_autocast_enabled(device) and dtype == torch.float32:
        dtype = torch.get_autocast_dtype(device)
    if device == "cpu":
        # Most CPUs multiply 16-bit numbers several times slower than float32.
        dtype = torch.promote_types(dtype, torch.float32)
    budget, block = (1 << 28, 1 << 22) if device == "cpu" else (1 << 29, 1 << 27)
    most, count = min(max(budget // (vocabulary * dtype.itemsize), 64), 2048), max(hidden.shape[0], 1)
    rows = -(-count // -(-count // most))  # chunks of nearly one size: a small last one multiplies slowly
    return Chunk(rows, min(max(block // (rows * dtype.itemsize), 1024), vocabulary), dtype)


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

    def logit_gradient(self, of_log_p: Tensor, of_log_complement: Tensor) -> Tensor:
        """[rows], the gradient with respect to the target's logit, from those of the two outputs."""
        return of_log_p * self.log_complement.exp() - of_log_complement * self.log_p.exp()


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
    """The head of one call, cut as `chunk` says.

    Args:
        weight: [V, H].
        bias: [V] or None.
        softcap: as in `target_log_prob`.
        logit_scale: as in `target_log_prob`.
        chunk: how to cut.
        elementwise: module with `scan` and `to_gradient_`: `blocks` or `triton_blocks`.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        softcap: float | None,
        logit_scale: float | None,
        chunk: Chunk,
        elementwise: ModuleType = blocks,
    ) -> None:
        self.weight, self.bias, self.softcap, self.logit_scale = weight, bias, softcap, logit_scale
        self.chunk, self.elementwise = chunk, elementwise
        self.wide = torch.promote_types(chunk.dtype, torch.float32)
        vocabulary = weight.shape[0]
        pieces = -(-vocabulary // chunk.columns)
        width = -(-vocabulary // pieces)
        self.columns = [slice(start, min(start + width, vocabulary)) for start in range(0, vocabulary, width)]
        self.scratch = torch.empty(chunk.rows * width, dtype=self.wide, device=weight.device)

    def row_chunks(self, count: int) -> Iterator[slice]:
        """Consecutive slices of [0, count), `chunk.rows` long."""
        return (slice(start, min(start + self.chunk.rows, count)) for start in range(0, count, self.chunk.rows))

    def new_buffer(self) -> Tensor:
        """Room for all logits of one chunk of rows, for `score` to keep them in."""
        return torch.empty(self.chunk.rows * self.weight.shape[0], dtype=self.chunk.dtype, device=self.weight.device)

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
            hidden: [rows, H], at most `chunk.rows` rows.
            target: [rows], int64.
            buffer: from `new_buffer`, to keep the logits in for `add_gradients`; None throws them away.
        """
        hidden = hidden.to(self.chunk.dtype)
        largest = hidden.new_full(target.shape, torch.finfo(self.wide).min, dtype=self.wide)
        total, target_logit = torch.zeros_like(largest), torch.zeros_like(largest)
        for columns in self.columns:
            logits = self._logits(hidden, columns, _view(buffer, target.shape[0], columns))
            found = self.elementwise.scan(
                logits, target - columns.start, self.softcap, self.logit_scale, self._scratch_for(logits)
            )
            bound = torch.maximum(largest, found.largest)
            total = total * (largest - bound).exp() + found.total * (found.largest - bound).exp()
            largest, target_logit = bound, target_logit + found.target_logit
        margin = (target_logit - largest) - total.log()
        return RowScores(logsigmoid(margin), logsigmoid(-margin), largest, total, target_logit)

    def add_gradients(
        self,
        gradients: Gradients,
        rows: slice,
        hidden: Tensor,
        target: Tensor,
        scores: RowScores,
        at_logit: Tensor,
        buffer: Tensor | None = None,
    ) -> None:
        """Add one chunk of rows to the gradients.

        Args:
            gradients: from `new_gradients`.
            rows: where the chunk lies in the N rows.
            hidden: [rows, H], the same as for `score`.
            target: [rows], the same as for `score`.
            scores: what `score` returned.
            at_logit: [rows], gradient with respect to the target's logit.
            buffer: with the logits that `score` kept, overwritten; None computes them anew.
        """
        hidden, count = hidden.to(self.chunk.dtype), target.shape[0]
        # 16-bit products see gradients of the order of 1, so that small ones do not underflow.
        unit = None if self.chunk.dtype == self.wide else at_logit.abs().amax().clamp_min(torch.finfo(self.wide).tiny)
        coefficient = at_logit if unit is None else at_logit / unit
        if self.logit_scale is not None:
            coefficient = coefficient * self.logit_scale
        slope = 1.0 if self.softcap is None else 1 - (scores.target_logit / self.softcap).square()
        into = None
        if gradients.hidden is not None:
            into = hidden.new_zeros((count, hidden.shape[1]), dtype=self.wide)
        for columns in self.columns:
            block = _view(buffer, count, columns)
            if buffer is None or block is None:
                block = self._logits(hidden, columns, None)
            self.elementwise.to_gradient_(
                block,
                target - columns.start,
                scores.largest,
                coefficient / scores.total,
                coefficient * slope,
                self.softcap,
                self.logit_scale,
                self._scratch_for(block),
            )
            if into is not None:
                _add_product(into, block, self.weight[columns].to(self.chunk.dtype), unit)
            if gradients.weight is not None:
                _add_product(gradients.weight[columns], block.T, hidden, unit)
            if gradients.bias is not None:
                sums = block.sum(dim=0, dtype=self.wide)
                gradients.bias[columns] += sums if unit is None else unit * sums
        if gradients.hidden is not None and into is not None:
            gradients.hidden[rows] = into

    def _logits(self, hidden: Tensor, columns: slice, out: Tensor | None) -> Tensor:
        weight = self.weight[columns].to(self.chunk.dtype)
        if out is None:
            out = hidden.new_empty(hidden.shape[0], weight.shape[0])
        if self.bias is None:
            return torch.mm(hidden, weight.T, out=out)
        return torch.addmm(self.bias[columns].to(self.chunk.dtype), hidden, weight.T, out=out)

    def _scratch_for(self, block: Tensor) -> Tensor:
        return self.scratch[: block.numel()].view(block.shape)


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
