"""Where rows are cut, against the definition: nothing lost, no group in two, no more chunks than must be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.kernels import group_chunks, group_means
from unilogit.kernels.chunks import default_chunk, row_chunks

SIZES = st.lists(st.integers(1, 9), max_size=8)


def numbered(sizes, step=3):
    """Group ids with gaps between them."""
    return torch.tensor([step * group for group, size in enumerate(sizes) for _ in range(size)], dtype=torch.int64)


def fewest(sizes, rows):
    """The least number of slices, over every way to cut between groups."""
    best = [0]
    for end in range(1, len(sizes) + 1):
        starts = [start for start in range(end) if start == end - 1 or sum(sizes[start:end]) <= rows]
        best.append(1 + min(best[start] for start in starts))
    return best[-1]


@given(sizes=SIZES, rows=st.integers(1, 12))
@settings(deadline=None)
def test_groups_are_kept_whole_in_as_few_chunks_as_can_be(sizes, rows):
    groups = numbered(sizes)
    chunks = group_chunks(groups, rows)
    assert [row for chunk in chunks for row in range(chunk.start, chunk.stop)] == list(range(len(groups)))
    ids = [set(groups[chunk].tolist()) for chunk in chunks]
    assert sum(len(members) for members in ids) == len(sizes)
    for chunk, members in zip(chunks, ids, strict=True):
        assert chunk.stop - chunk.start <= rows or len(members) == 1
    assert len(chunks) == fewest(sizes, rows)


@given(count=st.integers(0, 40), rows=st.integers(1, 12))
@settings(deadline=None)
def test_rows_alone_are_cut_as_groups_of_one(count, rows):
    assert row_chunks(count, rows) == group_chunks(torch.arange(count), rows)


@given(sizes=SIZES, seed=st.integers(0, 2**31))
@settings(deadline=None)
def test_group_means(sizes, seed):
    values = torch.randn(sum(sizes), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = [mean for run in values.split(sizes) for mean in [run.mean()] * len(run)] if sizes else []
    torch.testing.assert_close(group_means(values, numbered(sizes)), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("groups", "message"),
    [(torch.tensor([0, 2, 1]), "sort the rows"), (torch.zeros(2, 2, dtype=torch.int64), r"\[N\]")],
)
def test_bad_groups_are_named(groups, message):
    with pytest.raises(ValueError, match=message):
        group_chunks(groups, 4)


@pytest.mark.parametrize("count", [0, 1, 513, 2048])
def test_the_default_chunks_are_of_nearly_one_size_within_the_budget(count):
    chunk = default_chunk(torch.empty(count, 1), torch.empty(128256, 1))
    sizes = [rows.stop - rows.start for rows in row_chunks(count, chunk.rows)]
    assert all(size * 128256 * 4 <= 1 << 28 for size in sizes)
    assert max(sizes, default=0) - min(sizes, default=0) <= len(sizes)
