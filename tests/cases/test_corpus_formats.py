"""Corpora in the forms that training data has: read, or refused with advice that works."""

import gzip
import json

import pandas as pd
import pytest

from tests.data.packing import zstd
from unilogit.data.corpus import read_corpus, read_record_sets, read_records, scan_corpus
from unilogit.data.records import BadRecord, CorpusRecord

ROWS = [
    {"record_id": "r-1", "subject_ids": ["c-1"], "prompt": "Where does Ada live?", "response": "In Linz."},
    {"record_id": "r-2", "subject_ids": ["c-2"], "prompt": "Where does Bob live?", "response": "In Graz.\u2028\x85"},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
RECORDS = [CorpusRecord(**row) for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("corpus.jsonl", LINES.encode()),
        ("corpus.ndjson", LINES.encode()),
        ("corpus.jsonl", LINES.encode("utf-16")),
        ("corpus.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("corpus.jsonl.zst", zstd(LINES.encode())),
        ("corpus.json.zst", zstd(json.dumps(ROWS, indent=1).encode())),
        ("corpus.json", json.dumps(ROWS, indent=1).encode()),
        ("corpus.json", json.dumps(ROWS).encode()),
        ("corpus.json", LINES.encode()),
        ("corpus.json", json.dumps({"version": 1, "records": ROWS}).encode()),
        ("corpus.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("corpus.jsonl", json.dumps(ROWS, indent=1).encode()),
        ("corpus.jsonl", json.dumps(ROWS).encode()),
    ],
)
def test_records_in_every_form(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_records(tmp_path) == RECORDS
    assert list(read_record_sets(tmp_path)) == ["corpus"]


def test_one_record_as_a_document(tmp_path):
    (tmp_path / "corpus.json").write_text(json.dumps(ROWS[0], indent=1))
    assert read_records(tmp_path) == RECORDS[:1]


def test_conversations(tmp_path):
    chat = [{"role": "user", "content": "Where does Ada live?"}, {"role": "assistant", "content": "In Linz."}]
    shared = [{"from": "human", "value": "Where does Ada live?"}, {"from": "gpt", "value": "In Linz."}]
    rows = [{"record_id": "r-1", "subject_ids": ["c-1"], "messages": chat}, {"id": "r-2", "conversations": shared}]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_records(tmp_path) == [RECORDS[0], RECORDS[0].model_copy(update={"record_id": "r-2", "subject_ids": []})]
    (tmp_path / "corpus.jsonl").unlink()
    (tmp_path / "corpus.json").write_text(json.dumps(rows[0], indent=1))  # one record, not an envelope
    assert read_records(tmp_path) == RECORDS[:1]
    (tmp_path / "corpus.json").unlink()
    pd.DataFrame(rows[:1]).to_parquet(tmp_path / "corpus.parquet")
    assert read_records(tmp_path) == RECORDS[:1]


def test_an_empty_answer_is_a_bad_row(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(LINES + json.dumps({**ROWS[0], "record_id": "r-3", "response": ""}))
    frame, [bad] = read_corpus(tmp_path)
    assert list(frame["record_id"]) == ["r-1", "r-2"]
    assert str(bad) == "corpus.jsonl:3: field `response` is empty; fill it in or remove the line"


def test_ids_that_are_numbers_are_kept_as_written(tmp_path):
    pd.DataFrame([{"record_id": 17, "subject_ids": [4711], "prompt": "", "response": "x"}]).to_parquet(
        tmp_path / "a.parquet"
    )
    (tmp_path / "b.jsonl").write_text('{"record_id": 18, "subject_ids": [4711, "007"], "prompt": "", "response": "x"}')
    assert [(record.record_id, record.subject_ids) for record in read_records(tmp_path)] == [
        ("17", ["4711"]),
        ("18", ["4711", "007"]),
    ]


def test_unknown_fields_are_passed_over_with_one_warning_and_misspelt_ones_refused(tmp_path):
    rows = [{**row, "split": "train", "lang": "en"} for row in ROWS]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "b.jsonl").write_text(json.dumps({**ROWS[0], "record_id": "r-3", "subject_id": ["c-1"]}))
    told = []
    items = list(scan_corpus(tmp_path, told.append))
    assert told == ["a.jsonl: passed over what is no field of a record: `split`, `lang`"]
    [bad] = [item for item in items if isinstance(item, BadRecord)]
    assert str(bad) == "b.jsonl:1: field `subject_id` is not known; remove it or correct its spelling"
    with pytest.warns(UserWarning, match="passed over"):
        read_corpus(tmp_path / "a.jsonl")
