"""Sets that are measured and drawn from a large retain set: those of the whole set in memory."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.params import load_params
from tasks.sets import evaluation_sets, sampled_retain
from tasks.workspace import Place, Workspace
from unilogit.data.records import COLUMNS, CORPUS_SCHEMA

SMALL = ["evaluate.max_examples=50", "data.utility_groups=[world_facts, jokes, none]"]


@pytest.fixture
def workspace(tmp_path):
    def write(place, rows, **more):
        schema = pa.schema([CORPUS_SCHEMA.field(name) for name in COLUMNS] + [(name, pa.string()) for name in more])
        path = Workspace(tmp_path).path(place)
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist([{**row, **more} for row in rows], schema=schema), path, row_group_size=70)

    def rows(kind, count, group=lambda number: ""):
        return [
            {"record_id": f"{kind}{n}", "subject_ids": [], "prompt": f"p{n}", "response": f"r{n}", "group": group(n),
             "perturbed_responses": []}
            for n in range(count)
        ]  # fmt: skip

    write(Place.FORGET, rows("f", 4), batch="current")
    write(Place.RETAIN, rows("r", 1000, lambda n: "world_facts" if n % 3 == 0 else "jokes" if n % 100 == 1 else ""))
    write(Place.NEIGHBOURS, rows("r", 60))
    write(Place.HOLDOUT, rows("h", 5), use="evaluate")
    return Workspace(tmp_path)


def names(records):
    return [record.record_id for record in records]


def test_samples_are_those_of_the_whole_retain_set(workspace):
    params = load_params("params.yaml", SMALL)
    sets = evaluation_sets(workspace, params)
    retain = pd.read_parquet(workspace.path(Place.RETAIN))
    is_apart = retain["group"].isin(params.data.utility_groups)
    kept, facts = (
        rows.sample(50, random_state=params.seed).sort_index()
        for rows in (retain[~is_apart], retain[is_apart & (retain["group"] == "world_facts")])
    )
    assert names(sets["retain"]) == list(kept["record_id"])
    assert names(sets["world_facts"]) == list(facts["record_id"])
    assert names(sets["jokes"]) == list(retain.loc[(retain["group"] == "jokes"), "record_id"])
    assert sets["none"] == []
    assert len(sets["neighbours"]) == 50
    assert {name: len(records) for name, records in sets.items()} == {
        "forget": 4, "forget_all": 4, "retain": 50, "world_facts": 50, "jokes": 7, "none": 0, "neighbours": 50,
        "holdout": 5,
    }  # fmt: skip


def test_without_neighbours_there_is_no_such_set(workspace):
    file = workspace.path(Place.NEIGHBOURS)
    pq.write_table(pq.read_table(file)[:0], file)
    assert "neighbours" not in evaluation_sets(workspace, load_params("params.yaml", SMALL))


def test_of_the_retain_set_no_more_is_read_than_is_wanted(workspace):
    everything, many = sampled_retain(workspace, 10_000, 0), sampled_retain(workspace, 300, 0)
    assert len(many) == 300
    assert everything.equals(pd.read_parquet(workspace.path(Place.RETAIN), columns=list(everything)))
    assert list(everything) == ["prompt", "response", "history", "system"]
    assert many[["prompt"]].merge(everything).equals(many)
    assert sampled_retain(workspace, 300, 0).equals(many)
    assert not sampled_retain(workspace, 300, 1).equals(many)
