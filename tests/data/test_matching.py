"""What matching shares with other modules: rows by condition, and work in threads. Matches: test_extraction.py."""

import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data.matching import all_but, connect, in_threads, stream


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 60), st.data())
def test_all_but_some_rows_in_their_order(tmp_path_factory, count, group, data):
    folder = tmp_path_factory.mktemp("rows")
    pq.write_table(pa.table({"name": [f"n{n}" for n in range(count)]}), folder / "a.parquet", row_group_size=group)
    excluded = data.draw(st.sets(st.integers(0, count - 1)))
    with connect(folder / "a.parquet", folder) as connection:
        connection.execute("CREATE TEMP TABLE excluded (row_number BIGINT)")
        for number in excluded:
            connection.execute("INSERT INTO excluded VALUES (?)", [number])
        condition = all_but(connection, "SELECT row_number FROM excluded")
        rest = connection.execute(f"SELECT row_number, name FROM corpus WHERE {condition}").fetchall()
    assert rest == [(number, f"n{number}") for number in range(count) if number not in excluded]


def test_a_stream_is_all_rows_in_batches(tmp_path):
    pq.write_table(pa.table({"name": [str(number) for number in range(10_000)]}), tmp_path / "a.parquet")
    with connect(tmp_path / "a.parquet", tmp_path) as connection:
        batches = list(stream(connection, "SELECT name FROM corpus", 2048))
    assert max(batch.num_rows for batch in batches) <= 2048
    assert [name for batch in batches for name in batch["name"].to_pylist()] == [str(n) for n in range(10_000)]


def test_threads_keep_the_order_and_take_few_items_at_once():
    taken, most = [], 0
    started = threading.Semaphore(0)

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    def square(number):
        started.release()
        time.sleep(0.002 if number % 3 else 0)
        return number**2

    results = []
    for result in in_threads(square, items()):
        results.append(result)
        most = max(most, len(taken) - len(results))
    assert results == [number**2 for number in range(100)]
    assert most < 50


def test_what_fails_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, [1, 0, 1]))
