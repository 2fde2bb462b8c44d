"""A folder of corpus records becomes a benchmark, each file a set."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data.corpus import read_corpus
from unilogit.data.records import PLACES, CorpusRecord, frame_records, write_corpus
from unilogit.errors import InputError
from unilogit.evaluation.benchmarks.corpora import read_corpora

OTHERS = ["neighbours", "world_facts", "jokes"]


def records(name, n=2):
    return [CorpusRecord(record_id=f"{name}-{i}", prompt=f"{name} {i}?", response=f"{name}.") for i in range(n)]


@settings(max_examples=20, deadline=None)
@given(
    others=st.sets(st.sampled_from(OTHERS)),
    holdout=st.booleans(),
    parquet=st.sets(st.sampled_from(["forget", "retain", *OTHERS])),
)
def test_every_file_is_a_set(tmp_path_factory, others, holdout, parquet):
    folder = tmp_path_factory.mktemp("corpora")
    sets = {name: records(name) for name in ["forget", "retain", *others, *["holdout"] * holdout]}
    for name, content in sets.items():
        write_corpus(folder / f"{name}.jsonl", content)
        if name in parquet:
            frame, _ = read_corpus(folder / f"{name}.jsonl")
            assert frame_records(frame) == content
            frame.drop(columns=list(PLACES)).to_parquet(folder / f"{name}.parquet")
            (folder / f"{name}.jsonl").unlink()
    suite = read_corpora(folder)
    assert suite.sets == {"holdout": [], **sets}
    assert suite.utility_sets == ("retain", *sorted(others))


def test_what_is_missing_or_in_two_sets_refuses_the_whole(tmp_path):
    write_corpus(tmp_path / "jokes.jsonl", records("jokes"))
    with pytest.raises(InputError) as error:
        read_corpora(tmp_path)
    assert error.value.problems == [
        f"{tmp_path}: the set `{name}` is missing; add {name}.jsonl" for name in ("forget", "retain")
    ]
    for name in ("forget", "retain"):
        write_corpus(tmp_path / f"{name}.jsonl", records("same"))
    with pytest.raises(InputError, match=r"^retain\.jsonl:1: field `record_id` repeats that of forget\.jsonl:1"):
        read_corpora(tmp_path)
