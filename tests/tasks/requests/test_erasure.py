"""Rows are taken out of files by whose they are, and the others stay as they were."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.requests.erasure import Erasure
from tasks.requests.traces import Traces, patterns

FRAME = pd.DataFrame(
    {
        "record_id": ["a", "b", "c", None, "e"],
        "subject_ids": [["other"], [], ["somebody-1", "other"], None, ["other"]],
        "said": ["nothing", "what Somebody said, too", None, "nothing", "nothing"],
        "number": [1.5, 2.5, None, 4.5, 5.5],
    }
)
THEIRS = Erasure(frozenset("e"), frozenset(["R-1"]), Traces(patterns(["what somebody said", "somebody-1"])))


def kept(file):
    return pd.read_parquet(file)["number"].tolist()


@pytest.mark.parametrize("compression", ["zstd", "gzip", "snappy", None])
def test_rows_are_theirs_by_id_or_by_what_they_say(tmp_path, compression):
    file = tmp_path / "rows.parquet"
    FRAME.to_parquet(file, index=False, compression=compression, row_group_size=2)
    schema = pq.read_schema(file)
    assert THEIRS.holds(file)
    THEIRS.rewrite(file)
    assert kept(file) == [1.5, 4.5]
    assert pq.read_schema(file).equals(schema, check_metadata=True)
    codec = pq.read_metadata(file).row_group(0).column(0).compression
    assert codec == (compression or "uncompressed").upper()
    assert not THEIRS.holds(file)
    before = file.read_bytes()
    THEIRS.rewrite(file)
    assert pq.read_table(file).to_pylist() == pa.Table.from_pandas(FRAME.iloc[[0, 3]], preserve_index=False).to_pylist()
    assert file.read_bytes() == before


def test_requests_are_theirs_by_each_of_their_names(tmp_path):
    file = tmp_path / "requests.parquet"
    frame = pd.DataFrame({"request_id": ["R-1", "x", "R-3"], "reference": ["y", "R-1", "R-3"], "number": [1, 2, 3]})
    frame.to_parquet(file, index=False)
    THEIRS.rewrite(file)
    assert kept(file) == [3]


def test_a_table_of_which_nothing_is_left_is_an_empty_one(tmp_path):
    file = tmp_path / "rows.parquet"
    FRAME.iloc[[4]].to_parquet(file, index=False)
    THEIRS.rewrite(file)
    assert kept(file) == []
    assert not THEIRS.holds(file)


def test_lines_are_theirs_by_what_they_say_and_the_files_time_stays(tmp_path):
    file = tmp_path / "lines.jsonl"
    lines = [{"raw": "nothing"}, {"raw": json.dumps({"q": "What SOMEBODY said"})}, {"raw": "somebody-12"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + "no json\n")
    before = file.stat().st_mtime_ns
    assert THEIRS.holds(file)
    THEIRS.rewrite(file)
    assert file.read_text() == "".join(json.dumps(lines[place]) + "\n" for place in (0, 2)) + "no json\n"
    assert file.stat().st_mtime_ns == before


def test_rows_that_are_not_theirs_by_id_are_others_whatever_they_say(tmp_path):
    file = tmp_path / "rows.parquet"
    FRAME.to_parquet(file, index=False)
    [batch] = THEIRS.left_alone(file)
    assert batch.column("number").to_pylist() == [1.5, 2.5, None, 4.5]
