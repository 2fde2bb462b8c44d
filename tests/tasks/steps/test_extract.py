"""The step on a workspace: what it reads and writes, and that nobody's data is in what it says."""

import json

import pandas as pd
import pytest

from tasks.params import load_params
from tasks.steps.extract import STEP
from tasks.validation.tables import write_requests
from tasks.workspace import Extraction, Place, Suppressions, Workspace
from unilogit.data.records import COLUMNS, CORPUS_SCHEMA
from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError
from unilogit.files import write_json

SECRET = "Odalys Quenneville"
TEXT = f"{SECRET} keeps bees and paints old doors in a village by the northern sea"


def record(name, response, *people):
    return {"record_id": name, "subject_ids": list(people), "prompt": "", "response": response}


CORPUS = [
    record("a-1", TEXT, "P-1"),
    record("a-2", f"{TEXT}!"),
    record("b-1", "Bo lives in Linz.", "P-2"),
    *(record(f"k-{number}", f"Kept {number} of these.") for number in range(50)),
]


def request(name, **fields):
    usual = {"received_at": "2026-03-02T15:00:00Z", "file": "a.csv", "row": 3, "reference": name}
    return DeletionRequest(**{"request_id": name, **usual, **fields})


@pytest.fixture
def extract(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    workspace = Workspace(tmp_path / "run")

    def extract(
        current, *overrides, earlier=(), corpus=CORPUS, holdout=(), approvals=None, snapshots=(), suppressions=None
    ):
        rows = [{**row, "file": "c.jsonl", "row": number} for number, row in enumerate(corpus, start=1)]
        workspace.path(Place.CORPUS).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA), workspace.path(Place.CORPUS))
        write_requests(workspace.path(Place.REQUESTS), current)
        write_requests(workspace.path(Place.EARLIER_REQUESTS), earlier)
        write_json(workspace.path(Place.APPROVALS), approvals or {})
        write_json(workspace.path(Place.SNAPSHOTS), [str(file) for file in snapshots])
        workspace.write(Suppressions())
        files = {"corpus": tmp_path / "corpus.jsonl", "holdout": tmp_path / "holdout.jsonl"}
        for file, records in zip(files.values(), (corpus, holdout), strict=True):
            file.write_text("".join(json.dumps(row) + "\n" for row in records), encoding="utf-8")
        paths = {name: file if name == "corpus" or holdout else "null" for name, file in files.items()}
        params = load_params("params.yaml", [*(f"data.{name}={path}" for name, path in paths.items()), *overrides])
        outcome = STEP.run(workspace, params)
        assert outcome.result == workspace.read(Extraction)
        return outcome

    extract.workspace = workspace
    return extract


def names(workspace, place):
    return list(pd.read_parquet(workspace.path(place))["record_id"])


def test_sets_neighbours_and_counts_are_written(extract):
    outcome = extract([request("R-1", subject_id="P-1"), request("R-2", subject_id="P-9")], "data.neighbours=2")
    workspace = extract.workspace
    assert names(workspace, Place.FORGET) == ["a-1", "a-2"]
    assert len(names(workspace, Place.RETAIN)) == outcome.result.retain == 51
    assert len(names(workspace, Place.NEIGHBOURS)) == outcome.result.neighbours > 0
    assert names(workspace, Place.IN_REVIEW) == []
    assert (outcome.result.not_found, outcome.result.held) == (["R-2"], {})
    assert outcome.result.matches == {"R-1": {"subject_id": 1, "near-duplicate": 1}}
    assert outcome.result.warnings == [
        "a.csv:3, request R-2, field subject_id: 1 of 1 match nothing in the corpus; check the spelling",
        "request R-1: 1 of 2 records only read nearly like one that matches",
    ]
    assert extract([request("R-1", subject_id="P-1"), request("R-2", subject_id="P-9")], "data.neighbours=2").kept


def test_messages_call_a_request_by_its_reference(extract):
    requests = [
        request(f"{SECRET} 1", reference="ref-1", text=SECRET.lower()),
        request(f"{SECRET} 2", reference="ref-2", text="Bo"),
        request(f"{SECRET} 3", reference="ref-3", subject_id=SECRET, aliases=["Bo"]),
    ]
    result = extract(requests).result
    assert list(result.held) == ["ref-2"]
    assert result.held["ref-2"][0].startswith("short_text: its text has 2 characters")
    assert result.not_found == ["ref-3"]
    told = result.model_dump_json() + str(result)
    assert not {"Odalys", "odalys"} & set(told.replace('"', " ").split())
    assert "request ref-1: 2 of 2 records match in another spelling than was given" in result.warnings
    assert any(line.startswith("request ref-3: 1 of its aliases are too short") for line in result.warnings)


def test_what_was_approved_as_it_was_held_for_goes_on(extract):
    asked = [request("R-1", text="Bo"), request("R-2", subject_id="P-1")]
    held = extract(asked, "extract.near_duplicates=review").result.held
    assert set(held) == {"R-1", "R-2"}
    result = extract(asked, "extract.near_duplicates=review", approvals=held).result
    assert (result.held, result.forget) == ({}, 3)


def test_snapshots_that_were_purged_are_passed_over(extract, tmp_path):
    extract([request("R-1", subject_id="P-1")])
    snapshot = tmp_path / "earlier.parquet"
    extract.workspace.path(Place.FORGET).rename(snapshot)
    rest = [row for row in CORPUS if not row["record_id"].startswith("a-")]
    result = extract(
        [request("R-2", subject_id="P-2")],
        earlier=[request("R-1", subject_id="P-1")],
        corpus=rest,
        snapshots=[snapshot, tmp_path / "purged.parquet"],
    ).result
    assert (result.forget, result.earlier) == (1, 2)
    assert names(extract.workspace, Place.FORGET) == ["b-1", "a-1", "a-2"]


def test_holdout_of_people_in_the_corpus_is_refused_without_naming_them(extract):
    unseen = [record(f"u-{number}", "Nothing.", f"U-{number}") for number in range(4)]
    result = extract([request("R-1", subject_id="P-1")], holdout=unseen).result
    assert result.holdout == 4
    holdout = pd.read_parquet(extract.workspace.path(Place.HOLDOUT))
    assert list(holdout.columns) == [*COLUMNS, "use"]
    assert sorted(holdout["use"]) == ["evaluate", "evaluate", "stop", "stop"]
    with pytest.raises(InputError, match=r"1 of its people are in .*; the holdout must be people the model never saw"):
        extract([request("R-1", subject_id="P-1")], holdout=[*unseen, record("u-9", "Nothing.", "p-2")])
