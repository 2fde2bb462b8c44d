"""Checks of the arguments that every implementation shares, and the plan of one call. Computes nothing."""

from dataclasses import replace

from torch import Tensor

from unilogit.kernels.chunks import default_chunk, group_chunks, row_chunks
from unilogit.kernels.elementwise import choose
from unilogit.kernels.head import Head, Plan
from unilogit.kernels.spec import HeadSpec


def prepare(hidden: Tensor, weight: Tensor, target: Tensor, spec: HeadSpec, groups: Tensor | None = None) -> Head:
    """A `Head` for one call, apart from the graph. Arguments and errors are those of `fused_target_loss`."""
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
    if groups is not None and groups.shape != (count,):
        raise ValueError(f"groups must be one a row, ({count},), not {tuple(groups.shape)}")
    if spec.bias is not None and spec.bias.shape != (vocabulary,):
        raise ValueError(f"bias must be ({vocabulary},), not {tuple(spec.bias.shape)}")
    if count and bool(((target < 0) | (target >= vocabulary)).any()):
        raise ValueError(f"every target must be in [0, {vocabulary}): drop ignored positions first, hidden[mask]")
    if hasattr(weight, "full_tensor"):
        raise TypeError("weight is sharded (a DTensor): call from inside the FSDP module's forward, where it is whole")
    if spec.implementation == "reference":
        raise ValueError("implementation='reference' is one of target_log_prob only: choose 'chunked', or leave it out")
    chunk = spec.chunk or default_chunk(hidden, weight)
    rows = row_chunks(count, chunk.rows) if groups is None else group_chunks(groups, chunk.rows)
    plan = Plan(rows, chunk.columns, chunk.dtype, choose(spec.implementation, hidden.device, chunk.dtype))
    return Head(weight.detach(), replace(spec, bias=None if spec.bias is None else spec.bias.detach()), plan)
