"""A corpus in numbers, and the records that waiting requests name, counted by hand."""

import json

import pytest

from tasks.params import load_params
from tasks.planning.sketch import SAMPLE, draw_sketch
from tests import tiny
from unilogit.data.tokenisation import encode_pair
from unilogit.errors import InputError
from unilogit.model import load_tokenizer

RECORDS = [
    {
        "record_id": f"r{number}",
        "subject_ids": [f"p{number // 3}"],
        "prompt": f"What of a {number}?",
        "response": "It is a, number 1 of all. " * (1 + number % 4),
        "group": "world_facts" if number % 5 == 0 else "",
        **({"perturbed_responses": ["a", "b"]} if number % 2 else {"paraphrased_prompt": "Say a."}),
    }
    for number in range(30)
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function of deletion requests that gives the parameters of a project with them."""
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    base = tiny.save_model(tmp_path / "base", 0)
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))

    def make(*requests, **data):
        named = [{"request_id": str(n), "received_at": "2026-01-01T00:00:00Z", **r} for n, r in enumerate(requests)]
        (tmp_path / "requests.jsonl").write_text("".join(json.dumps(request) + "\n" for request in named))
        if not named:
            (tmp_path / "requests").mkdir()
        asked = tmp_path / ("requests.jsonl" if named else "requests")
        paths = {"corpus": tmp_path / "corpus.jsonl", "holdout": tmp_path / "corpus.jsonl", "requests": asked, **data}
        return load_params("params.yaml", [f"model.base={base}", *(f"data.{k}={v}" for k, v in paths.items())])

    return make


def test_a_corpus_in_numbers(project):
    params = project()
    sketch = draw_sketch(params, 7)
    tokenizer = load_tokenizer(params.model.base)
    lengths = [len(encode_pair(tokenizer, record["prompt"], record["response"]).ids) for record in RECORDS]
    assert (sketch.records, sketch.holdout, sketch.forget) == (30, 30, 7)
    assert sketch.groups == {"world_facts": 6, "": 24}
    assert sketch.tokens == pytest.approx(sum(lengths) / len(lengths))
    assert sketch.longest == max(lengths)
    assert sketch.scored == 1 + 3 * 0.5
    assert sketch.paraphrased == 0.5
    assert len(sketch.pairs) == 30 <= SAMPLE


def test_records_that_requests_name_are_counted_once(project):
    requests = [{"subject_id": "p1"}, {"record_ids": ["r4", "r9"]}, {"text": "It is a, number 1 of all."}]
    sketch = draw_sketch(project(*requests), None)
    assert sketch.forget == 3 + 1 + 1  # r3 to r5; r9; one for the text
    assert (
        sketch.assumed
        == "3 requests wait and name 4 records by subject or id; for each of 1 texts one record is assumed"
    )


def test_without_requests_it_says_what_it_assumes(project):
    sketch = draw_sketch(project(), None)
    assert sketch.forget == 1
    assert "no request waits" in sketch.assumed


def test_a_long_record_counts_by_its_windows(project):
    params = project()
    short = params.model_copy(update={"model": params.model.model_copy(update={"max_length": 40})})
    assert draw_sketch(params, 1).longest > 40 >= draw_sketch(short, 1).longest


def test_a_corpus_without_a_record_is_refused(project, tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"prompt": 5}\n')
    with pytest.raises(InputError, match="no record that can be used"):
        draw_sketch(project(), 1)
