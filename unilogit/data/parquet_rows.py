"""The rows of a Parquet file part by part, all or some, while the rest stays on disk.

Knows nothing of what they hold.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_BATCH = 8_192  # rows that are decoded at once


def row_batches(table: pq.ParquetFile, count: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Every row in order, up to `count` at once.

    Row group by row group: Arrow keeps what it has read of each until the last is read.

    Args:
        columns: which to read; None for all.
    """
    for group in range(table.num_row_groups):
        yield from table.iter_batches(count, [group], columns)


def rows_at(file: Path, numbers: np.ndarray, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows with these numbers, part by part; row groups with none of them are not read.

    Args:
        numbers: from 0, ascending, each once.
        columns: which to read; None for all.
    """
    with pq.ParquetFile(file) as parquet:
        first_row = 0
        for group in range(parquet.num_row_groups):
            end = first_row + parquet.metadata.row_group(group).num_rows
            chosen = numbers[(numbers >= first_row) & (numbers < end)] - first_row
            for batch in parquet.iter_batches(_BATCH, [group], columns) if len(chosen) else ():
                places = chosen[: np.searchsorted(chosen, batch.num_rows)]
                if len(places):
                    yield batch.take(pa.array(places))
                chosen = chosen[len(places) :] - batch.num_rows
            first_row = end


def sample_rows(count: int, wanted: int, seed: int) -> np.ndarray:
    """Numbers of rows drawn by seed without repeats, ascending; all of them where no more are wanted."""
    if count <= wanted:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False, shuffle=False))
