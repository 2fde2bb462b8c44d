"""Checks of the arguments that every implementation shares, and the choice of one.

Knows which implementation suits which device; computes nothing.
"""

from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from unilogit.kernels.head import Chunk, Head, default_chunk

Implementation = Literal["chunked", "triton"]


def prepare(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    softcap: float | None,
    logit_scale: float | None,
    implementation: Implementation | None,
    chunk: Chunk | None,
) -> Head:
    """A `Head` for one call. Arguments and errors are those of `fused_target_loss`."""
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"hidden must be [N, H] and weight [V, H], not {tuple(hidden.shape)} and {tuple(weight.shape)}: "
            "select the positions to score first, hidden[mask]"
        )
    count, vocabulary = hidden.shape[0], weight.shape[0]
    if vocabulary < 2:
        raise ValueError(f"the vocabulary must have at least 2 tokens, not {vocabulary}")
    if target.shape != (count,):
        raise ValueError(f"target must be one token a row, ({count},), not {tuple(target.shape)}")
    if bias is not None and bias.shape != (vocabulary,):
        raise ValueError(f"bias must be ({vocabulary},), not {tuple(bias.shape)}")
    if count and bool(((target < 0) | (target >= vocabulary)).any()):
        raise ValueError(f"every target must be in [0, {vocabulary}): drop ignored positions first, hidden[mask]")
    if hasattr(weight, "full_tensor"):
        raise TypeError("weight is sharded (a DTensor): call from inside the FSDP module's forward, where it is whole")
    chunk = chunk or default_chunk(hidden, weight)
    if implementation in (None, "chunked"):
        return Head(weight.detach(), _detach(bias), softcap, logit_scale, chunk)
    if implementation != "triton":
        raise ValueError(f"implementation must be 'chunked' or 'triton', not {implementation!r}")
    if find_spec("triton") is None:
        raise ValueError("implementation='triton' needs Triton: pip install triton, or leave implementation out")
    if chunk.dtype == torch.float64:
        raise ValueError("implementation='triton' computes in float32: use 'chunked' for float64")
    from unilogit.kernels import triton_blocks

    return Head(weight.detach(), _detach(bias), softcap, logit_scale, chunk, triton_blocks)


def _detach(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()
