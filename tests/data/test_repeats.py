"""Repeats of a record_id against a plain loop."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data.records import CORPUS_SCHEMA
from unilogit.data.repeats import Repeats


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["a", "A", "b", "é", "é", "c "]), max_size=30), st.integers(1, 9))
def test_repeats_are_all_but_the_first(tmp_path_factory, names, group):
    folder = tmp_path_factory.mktemp("corpus")
    rows = [
        {"record_id": name, "subject_ids": ["s"], "prompt": "", "response": str(place), "file": "f", "row": place}
        for place, name in enumerate(names, start=1)
    ]
    table = pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA)
    pq.write_table(table, folder / "corpus.parquet", row_group_size=group)
    first = {name: names.index(name) + 1 for name in names}
    repeated = [row for row in rows if row["row"] != first[row["record_id"]]]
    with Repeats(folder / "corpus.parquet", folder) as repeats:
        assert repeats.count == len(repeated)
        found = [row for batch in repeats.records() for row in batch.to_pylist()]
        repeats.write_rest(folder / "rest.parquet")
    assert [(row["response"], row["first_file"], row["first_row"]) for row in found] == [
        (row["response"], "f", first[row["record_id"]]) for row in repeated
    ]
    rest = pd.read_parquet(folder / "rest.parquet")
    assert list(rest["row"]) == [row["row"] for row in rows if row["row"] == first[row["record_id"]]]
    assert list(rest.columns) == CORPUS_SCHEMA.names
