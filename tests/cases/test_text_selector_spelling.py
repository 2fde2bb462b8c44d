"""A name, an address or an id that is spelled otherwise is found, and that it was is said.

Given: records with no-break spaces, line breaks, accents in another encoding, typographic apostrophes, another case
and zero-width characters; requests that spell the same plainly.
"""

import json
import unicodedata

import pandas as pd
import pytest

from tasks.params import load_params
from tasks.steps.extract import run_extract
from tasks.steps.intake import run_intake
from tasks.steps.validate import run_validate
from tasks.workspace import Place, Workspace

RECORDS = [
    ("a-1", "Where does Zoe Exampleby live?", "In Linz.", []),
    ("a-2", "What about Zoe\u00a0Exampleby?", "A baker.", []),
    ("a-3", "Who came?", "Zoe\nExampleby came.", []),
    ("b-1", "Where does José Núñez live?", "At 5 Dunstreet.", []),
    ("c-1", "Where does Dana O\u2019Sample live?", "In Graz.", []),
    ("d-1", "Where is the first customer?", "In Wels.", ["Kim@Sample.example"]),
    ("e-1", "Where is the second customer?", "In Enns.", ["c-2"]),
    ("f-1", "What is water?", "Wet.", []),
]
REQUESTS = {
    "R-plain": {"text": "Zoe Exampleby"},
    "R-nfd": {"text": unicodedata.normalize("NFD", "José Núñez")},
    "R-apostrophe": {"text": "Dana O'Sample"},
    "R-case": {"subject_id": "kim@sample.example"},
    "R-zero-width": {"subject_id": "c-2\u200b"},
}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "run")


def extract(workspace, corpus, requests, *overrides):
    """Write corpus and requests, and run the steps up to extraction."""
    folder = workspace.root.parent
    (folder / "requests").mkdir()
    for file, rows in (("corpus.jsonl", corpus), ("requests/a.jsonl", requests)):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (folder / file).write_text("".join(lines), encoding="utf-8")
    paths = {"corpus": folder / "corpus.jsonl", "requests": folder / "requests", "holdout": "null"}
    params = load_params("params.yaml", [*(f"data.{name}={path}" for name, path in paths.items()), *overrides])
    run_intake(workspace, params)
    run_validate(workspace, params)
    return run_extract(workspace, params)


def sets(workspace):
    return [list(pd.read_parquet(workspace.path(place))["record_id"]) for place in (Place.FORGET, Place.RETAIN)]


def test_every_spelling_is_found_and_said(workspace):
    fields = ("record_id", "prompt", "response", "subject_ids")
    corpus = [dict(zip(fields, record, strict=True)) for record in RECORDS]
    requests = [
        {"request_id": name, "received_at": "2026-03-02T15:00:00Z", **asked} for name, asked in REQUESTS.items()
    ]
    found = extract(workspace, corpus, requests)
    assert sets(workspace) == [[record[0] for record in RECORDS[:-1]], ["f-1"]]
    assert (found.not_found, found.held) == ([], {})
    told = [line for line in str(found).splitlines() if "another spelling" in line]
    assert len({line.split()[2] for line in told}) == len(told) == len(REQUESTS)
    assert any(line.endswith(": 2 of 3 records match in another spelling than was given") for line in told)
    for secret in ("Zoe", "Núñez", "Sample", "c-2"):
        assert secret.lower() not in found.model_dump_json().lower()
