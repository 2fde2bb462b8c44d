"""A person's records that are in the corpus a second time, without the person's id, are not trained on again.

Given: a directory of people, and one person's records once more as a crawl has them.
"""

import json

import pytest

from tasks.workspace import Place, Workspace
from tests.cases.test_text_selector_spelling import extract, sets
from unilogit.data.example.generate import generate_example

PERSON = "P-0003"
REQUEST = {"request_id": "R-1", "received_at": "2026-03-02T15:00:00Z", "subject_id": PERSON}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Records of ten people, then copies of one's."""
    folder = tmp_path_factory.mktemp("example")
    generate_example(folder, people=12, unseen_people=4)
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["subject_ids"]]
    copies = [
        {"record_id": f"crawl-{row['record_id']}", "prompt": row["prompt"], "response": row["response"]}
        for row in rows
        if PERSON in row["subject_ids"]
    ]
    assert len(copies) > 5
    return rows + copies


def names(corpus):
    own = [row["record_id"] for row in corpus if PERSON in row.get("subject_ids", ())]
    return own, [row["record_id"] for row in corpus if row["record_id"].startswith("crawl-")]


def test_copies_are_forgotten(tmp_path, corpus):
    workspace = Workspace(tmp_path / "run")
    found = extract(workspace, corpus, [REQUEST])
    own, copies = names(corpus)
    forget, retain = sets(workspace)
    assert forget == own + copies
    assert set(retain) == {row["record_id"] for row in corpus} - {*own, *copies}
    assert (found.forget, found.near_duplicates) == (len(own) + len(copies), len(copies))
    assert found.matches == {"R-1": {"subject_id": len(own), "near-duplicate": len(copies)}}


def test_copies_are_shown_to_a_person(tmp_path, corpus):
    workspace = Workspace(tmp_path / "run")
    found = extract(workspace, corpus, [REQUEST], "extract.near_duplicates=review")
    own, copies = names(corpus)
    forget, retain = sets(workspace)
    assert forget == []
    assert not {*own, *copies} & {*retain}
    assert list(found.held) == ["R-1"]
    assert found.held["R-1"][0].startswith(f"near_duplicates: {len(copies)} records read nearly like")
    assert found.in_review == len(copies)
    assert workspace.has(Place.IN_REVIEW)
