"""Where to cut N rows: into chunks that fit memory, between the groups that rows belong to.

Knows nothing of what is computed on the rows.
"""

import torch
from torch import Tensor

from unilogit.kernels.spec import Chunk


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
    limit, count = min(max(budget // (vocabulary * dtype.itemsize), 64), 2048), max(hidden.shape[0], 1)
    rows = -(-count // -(-count // limit))  # chunks of nearly one size: a small last one multiplies slowly
    return Chunk(rows, min(max(block // (rows * dtype.itemsize), 1024), vocabulary), dtype)


def row_chunks(count: int, rows: int) -> list[slice]:
    """Consecutive slices that make up [0, count), each of at most `rows` rows."""
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]


def group_chunks(groups: Tensor, rows: int) -> list[slice]:
    """Consecutive slices that make up [0, N) and cut no group in two.

    Args:
        groups: [N], int64, non-decreasing: the group of each row.
        rows: the most rows of a slice, but for a group that is longer: it is a slice of its own.

    Raises:
        ValueError: for groups that are not [N], or that decrease.
    """
    if groups.ndim != 1:
        raise ValueError(f"groups must be one a row, [N], not {tuple(groups.shape)}")
    if bool((groups[1:] < groups[:-1]).any()):
        raise ValueError("groups must not decrease: sort the rows by their group first")
    _, sizes = groups.unique_consecutive(return_counts=True)
    slices, start, stop = [], 0, 0
    for end in sizes.cumsum(0).tolist():
        if start < stop and end - start > rows:
            slices.append(slice(start, stop))
            start = stop
        stop = end
    if start < stop:
        slices.append(slice(start, stop))
    return slices


def group_means(values: Tensor, groups: Tensor) -> Tensor:
    """The mean over each row's group: [N], the same number for all rows of a group.

    Args:
        values: [N], floating.
        groups: [N], int64, as in `group_chunks`.
    """
    _, index, sizes = groups.unique_consecutive(return_inverse=True, return_counts=True)
    return (values.new_zeros(len(sizes)).index_add(0, index, values) / sizes)[index]
