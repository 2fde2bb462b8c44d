"""Rows by number against the whole table; samples against what a sample is."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data import parquet_rows
from unilogit.data.parquet_rows import row_batches, rows_at, sample_rows


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 7), st.data())
def test_the_rows_are_those_of_the_table(tmp_path_factory, count, group, batch, data):
    file = tmp_path_factory.mktemp("rows") / "a.parquet"
    table = pa.table({"number": range(count), "text": [str(number) for number in range(count)]})
    pq.write_table(table, file, row_group_size=group)
    numbers = np.array(sorted(data.draw(st.sets(st.integers(0, max(count - 1, 0)), max_size=count))), dtype=np.int64)
    before, parquet_rows._BATCH = parquet_rows._BATCH, batch
    try:
        rows = pa.Table.from_batches(rows_at(file, numbers), table.schema)
    finally:
        parquet_rows._BATCH = before
    assert rows == table.take(numbers)


def test_all_rows_come_in_order_and_no_row_group_stays_in_memory(tmp_path):
    file = tmp_path / "a.parquet"
    table = pa.table({"number": range(40 * 9_000), "text": [f"{number:0100}" for number in range(40 * 9_000)]})
    pq.write_table(table, file, row_group_size=9_000, compression="none", use_dictionary=False)
    group, first_row, held = table.nbytes // 40, 0, pa.total_allocated_bytes()
    with pq.ParquetFile(file) as parquet:
        for batch in row_batches(parquet, 3_000):
            assert pa.table(batch) == table.slice(first_row, batch.num_rows)
            first_row += batch.num_rows
            assert pa.total_allocated_bytes() - held < 5 * group
    assert first_row == table.num_rows


def test_columns_may_be_chosen(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), tmp_path / "a.parquet")
    [batch] = rows_at(tmp_path / "a.parquet", np.array([1]), ["b"])
    assert batch.to_pydict() == {"b": [4]}


def test_a_sample_is_drawn_by_the_seed_without_repeats():
    sample = sample_rows(1000, 100, 7)
    assert len(set(sample.tolist())) == 100
    assert sample.tolist() == sorted(sample.tolist()) == sample_rows(1000, 100, 7).tolist()
    assert sample.tolist() != sample_rows(1000, 100, 8).tolist()
    assert sample_rows(5, 5, 7).tolist() == sample_rows(5, 9, 7).tolist() == [0, 1, 2, 3, 4]
    counts = np.bincount(np.concatenate([sample_rows(10, 5, seed) for seed in range(2000)]))
    assert counts.min() > 900
    assert counts.max() < 1100
