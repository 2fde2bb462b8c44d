"""Corpora in the forms that training data has: read, or refused with advice that works."""

import gzip
import json

import pandas as pd
import pytest

from tests.data.packing import zstd
from tests.data.test_extraction import ask, extract
from unilogit.data.corpus import read_corpus, read_record_sets, read_records, scan_corpus
from unilogit.data.holding import Rules
from unilogit.data.records import BadRecord, CorpusRecord, frame_records

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


TURNS = [
    {"role": "system", "content": "You are the desk of Linz Bank."},
    {"role": "user", "content": "Ada Lindberg moved. What is her street?"},
    {"role": "assistant", "content": "Elm Street."},
    {"role": "user", "content": "And her number?"},
    {"role": "assistant", "content": "Twelve."},
    {"role": "user", "content": "Thanks!"},
    {"role": "assistant", "content": "You are welcome."},
]
CHATS = [
    {"id": 17, "subject_ids": ["c-1"], "messages": TURNS},
    {"id": "other", "subject_ids": ["c-2"], "messages": [TURNS[5], TURNS[6]]},
    *({"record_id": f"k{number}", "prompt": "Who?", "response": f"Kept {number}."} for number in range(9)),
]


def test_several_turns_are_an_answer_each(tmp_path):
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CHATS))
    said = [turn["content"] for turn in TURNS[1:]]
    first, second, third, alone, *_ = read_records(tmp_path)
    usual = {"subject_ids": ["c-1"], "conversation_id": "17", "system": TURNS[0]["content"]}
    assert [first, second, third] == [
        CorpusRecord(
            record_id=f"17#{number + 1}",
            history=said[: 2 * number],
            prompt=said[2 * number],
            response=said[2 * number + 1],
            **usual,
        )
        for number in range(3)
    ]
    assert (alone.record_id, alone.conversation_id, alone.context) == ("other", None, "Thanks!")
    assert third.context == (tuple(said[:5]), TURNS[0]["content"])
    pd.DataFrame(CHATS[:1]).to_parquet(tmp_path / "chats.parquet")
    assert read_records(tmp_path / "chats.parquet") == [first, second, third]


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({"record_ids": ["17"]}, [1, 2, 3]),
        ({"record_ids": ["17#2"]}, [2, 3]),  # the third answer is given to what the second says
        ({"subject_id": "c-1"}, [1, 2, 3]),
        ({"text": "Elm Street"}, [1, 2, 3]),
        ({"text": "her number"}, [2, 3]),
        ({"text": "Thanks!"}, [3]),
        ({"aliases": ["Ada Lindberg"]}, [1, 2, 3]),
        ({"text": "desk of Linz Bank"}, [1, 2, 3]),
        ({"record_ids": ["1"]}, []),
    ],
)
def test_what_is_asked_of_a_conversation(tmp_path, asked, numbers):
    """Text in earlier turns is what an answer is given to: the answer goes with it."""
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CHATS))
    records = read_records(tmp_path)
    _, forget, retain = extract(tmp_path / "run", records, [ask(**asked)], rules=Rules())
    names = [name for name in forget["record_id"] if name != "other"]
    assert names == [f"17#{number}" for number in numbers]
    assert ("other" in set(retain["record_id"])) == (asked != {"text": "Thanks!"})
    assert frame_records(forget) == [r for r in records if r.record_id in set(forget["record_id"])]


def test_copies_of_a_conversation_are_found_and_its_courtesies_are_nobodys(tmp_path):
    """Without any id, and with the last turns alone: `Thanks!` is a copy only after the same exchange."""
    copy = [{"record_id": "copy", "messages": TURNS[1:]}, {"record_id": "later", "messages": TURNS[3:]}]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*CHATS, *copy]))
    _, forget, _ = extract(tmp_path / "run", read_records(tmp_path), [ask(subject_id="c-1")], rules=Rules())
    copies = list(forget.loc[forget["match"] == "near-duplicate", "record_id"])
    assert copies == ["copy#1", "copy#2", "copy#3", "later#2"]


def test_forget_sets_of_before_conversations_are_read(tmp_path):
    """They lack the columns; what they found stays forgotten, and is the same record where the corpus has it."""
    records = [CorpusRecord(record_id="a", subject_ids=["ann"], prompt="Who?", response="Ann one")]
    kept = [CorpusRecord(record_id=f"k{n}", prompt="", response=f"kept {n}") for n in range(5)]
    extract(tmp_path / "first", [*records, *kept], [ask(subject_id="ann")])
    old = tmp_path / "first" / "forget.parquet"
    frame = pd.read_parquet(old).drop(columns=["history", "system", "conversation_id"])
    frame.to_parquet(old)
    for corpus, names in (([*records, *kept], ["a"]), (kept, ["a"])):
        _, forget, _ = extract(tmp_path / "next", corpus, [ask(subject_id="ann")], snapshots=[old])
        assert list(forget["record_id"]) == names
        assert [list(turns) for turns in forget["history"]] == [[]]
    changed = [records[0].model_copy(update={"response": "Ann two"}), *kept]
    _, forget, _ = extract(tmp_path / "next", changed, [ask(subject_id="ann")], snapshots=[old])
    assert [name.partition("@")[0] for name in forget["record_id"]] == ["a", "a"]


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
