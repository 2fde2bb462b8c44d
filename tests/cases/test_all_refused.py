"""Exports that were refused row by row without a word, and ended as if nothing were pending."""

import json

import pytest

from tasks.params import load_params
from tasks.steps.intake import run_intake
from tasks.validation.tables import read_requests, require_good
from tasks.workspace import Workspace
from unilogit.errors import InputError

ROW = {"received_at": "2026-03-02T15:00:00Z"}
OPEN_DSR = {
    "subject_request_id": "00000000-0000-4000-8000-000000000001",
    "subject_request_type": "erasure",
    "submitted_time": "2026-03-02T15:00:00Z",
    "subject_identities": [
        {"identity_type": "controller_customer_id", "identity_value": "P-0001", "identity_format": "raw"}
    ],
    "api_version": "1.0",
}


@pytest.fixture
def take_in(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "var"))
    workspace = Workspace(tmp_path / "workspace")

    def take_in(name, content, *settings):
        (tmp_path / name).write_text(content)
        overrides = [f"data.requests={tmp_path / name}", *settings]
        counts = run_intake(workspace, load_params("params.yaml", overrides))
        require_good(workspace)
        return counts, [(request.request_id, request.subject_id) for request in read_requests(workspace)]

    return take_in


def test_an_export_with_a_column_more(take_in):
    rows = ["R-1,2026-03-02T15:00:00Z,P-0001,open", "R-2,2026-03-02T15:00:00Z,P-2,open"]
    counts, requests = take_in("export.csv", "\n".join(["request_id,received_at,subject_id,status", *rows]))
    assert requests == [("R-1", "P-0001"), ("R-2", "P-2")]
    assert counts.warnings == ["export.csv: passed over what is no field of a request: `status`"]


def test_ids_that_are_numbers(take_in):
    _, requests = take_in("numbers.jsonl", json.dumps({**ROW, "request_id": 17, "subject_id": 4711}))
    assert requests == [("17", "4711")]


def test_open_dsr_as_its_refusal_advises(take_in):
    with pytest.raises(InputError) as error:
        take_in("requests.jsonl", json.dumps(OPEN_DSR))
    first, *_ = error.value.problems
    assert first.startswith("requests.jsonl: looks like OpenDSR; take it in with --set ")
    _, requests = take_in("requests.jsonl", json.dumps(OPEN_DSR), first.partition("--set ")[2])
    assert requests == [("00000000-0000-4000-8000-000000000001", "P-0001")]


def test_where_every_row_is_refused_the_first_reasons_are_told(take_in):
    rows = [{**ROW, "request_id": f"R-{number}", "subject_id": 4711.0} for number in range(12)]
    with pytest.raises(InputError) as error:
        take_in("numbers.jsonl", "\n".join(map(json.dumps, rows)))
    assert len(error.value.problems) == 12
    assert error.value.problems[0].startswith("numbers.jsonl:1: field `subject_id` is a number with a decimal point")
    assert error.value.problems[10].startswith("and 2 more; see ")
    assert "4711" not in str(error.value)
