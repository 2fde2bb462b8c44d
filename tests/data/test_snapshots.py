"""What an earlier batch found is forgotten whether the corpus still holds it or not."""

import pandas as pd
import pytest

from tests.data.test_extraction import ask, extract, frame
from unilogit.data.extraction import extract_sets
from unilogit.data.holding import Rules
from unilogit.data.records import CorpusRecord, frame_records
from unilogit.data.selectors import Reason
from unilogit.errors import InputError

RULES = Rules(near_duplicates="off", min_text_length=1)


def record(name, text, *people):
    return CorpusRecord(record_id=name, subject_ids=list(people), prompt="", response=text)


KEPT = [record(f"k{number}", f"kept {number}") for number in range(5)]


@pytest.fixture
def snapshot(tmp_path):
    """Of a batch with the request q0 for Ann, and q1 for Bob."""
    corpus = [record("a1", "Ann one", "ann"), record("a2", "Ann two", "ann"), record("b1", "Bob one", "bob"), *KEPT]
    folder = tmp_path / "first"
    _, forget, _ = extract(folder, corpus, [ask(subject_id="ann"), ask(subject_id="bob")], rules=RULES)
    assert len(forget) == 3
    return folder / "forget.parquet"


def again(folder, corpus, current, earlier, snapshots, **more):
    """Extract with requests under the names that they have in the snapshot."""
    from tests.data.test_extraction import write

    frames = [frame(()) for _ in range(2)]
    for place, asked in enumerate((current, earlier)):
        rows = [{"request_id": name, **ask(**fields)} for name, fields in asked.items()]
        frames[place] = pd.DataFrame(rows, columns=["request_id", *ask()])
    files = [folder / f"{name}.parquet" for name in ("forget", "retain", "review")]
    path = write(folder / "corpus.parquet", corpus)
    found = extract_sets(path, *frames, *files, rules=more.pop("rules", RULES), snapshots=snapshots, **more)
    return found, *(pd.read_parquet(file) for file in files[:2])


def test_records_that_left_the_corpus_stay_forgotten(tmp_path, snapshot):
    found, forget, retain = again(tmp_path, KEPT, {}, {"q0": {"subject_id": "ann"}}, [snapshot])
    assert list(zip(forget["record_id"], forget["batch"], strict=True)) == [("a1", "earlier"), ("a2", "earlier")]
    assert [list(people) for people in forget["subject_ids"]] == [["ann"]] * 2
    assert list(forget["match"]) == ["subject_id"] * 2
    assert (found.earlier, found.retain, frame_records(retain)) == (2, 5, KEPT)


def test_a_current_request_goes_on_from_its_snapshot(tmp_path, snapshot):
    corpus = [record("a1", "Ann one", "ann"), *KEPT]
    found, forget, _ = again(tmp_path, corpus, {"q0": {"subject_id": "ann"}}, {"q1": {"subject_id": "bob"}}, [snapshot])
    assert list(zip(forget["record_id"], forget["batch"], strict=True)) == [
        ("a1", "current"), ("a2", "current"), ("b1", "earlier"),
    ]  # fmt: skip
    assert (found.unmatched, found.matched["q0"]["records"]) == ([], 2)


def test_a_request_that_is_not_asked_any_more_has_no_snapshot(tmp_path, snapshot):
    corpus = [record("b1", "Bob one", "bob"), *KEPT]
    _, forget, retain = again(tmp_path, corpus, {"q9": {"record_ids": ["k0"]}}, {}, [snapshot])
    assert list(forget["record_id"]) == ["k0"]
    assert "b1" in list(retain["record_id"])


def test_a_record_of_a_snapshot_is_never_retained_and_both_wordings_are_forgotten(tmp_path, snapshot):
    """The corpus has other words, and nobody's id, under the id of one of Ann's records."""
    corpus = [record("a1", "changed"), record("a2", "Ann two", "ann"), *KEPT]
    _, forget, retain = again(tmp_path, corpus, {}, {"q0": {"subject_id": "ann"}}, [snapshot])
    assert frame_records(retain) == KEPT
    assert list(forget["response"]) == ["changed", "Ann two", "Ann one"]
    names = list(forget["record_id"])
    assert names[:2] == ["a1", "a2"]
    assert names[2].startswith("a1@")
    assert len(set(names)) == 3

    again_file = tmp_path / "second.parquet"
    forget.to_parquet(again_file)
    _, forget, _ = again(tmp_path, corpus, {}, {"q0": {"subject_id": "ann"}}, [snapshot, again_file])
    assert list(forget["record_id"]) == names  # both snapshots hold the old wording, under two names
    _, forget, _ = again(tmp_path, KEPT, {}, {"q0": {"subject_id": "ann"}}, [snapshot, again_file])
    assert sorted(zip(forget["record_id"], forget["response"], strict=True)) == [
        ("a1", "changed"), (names[2], "Ann one"), ("a2", "Ann two"),
    ]  # fmt: skip


def test_a_held_request_keeps_what_was_forgotten_before_out_of_the_retain_set(tmp_path, snapshot):
    corpus = [record("a1", "Ann one", "ann"), *KEPT, *(record(f"n{n}", f"new {n}", "ann") for n in range(30))]
    found, forget, retain = again(tmp_path, corpus, {"q0": {"subject_id": "ann"}}, {}, [snapshot])
    assert [held.reason for held in found.held["q0"]] == [Reason.LARGE_SHARE]
    assert list(zip(forget["record_id"], forget["batch"], strict=True)) == [("a1", "earlier"), ("a2", "earlier")]
    assert len(retain) == 35


def test_near_duplicates_of_what_left_the_corpus_are_forgotten(tmp_path):
    text = "Ann Example keeps bees and paints old doors in a village by the northern sea"
    folder = tmp_path / "first"
    extract(folder, [record("a1", text, "ann"), *KEPT], [ask(subject_id="ann")], rules=RULES)
    corpus = [record("crawl", f"{text}!"), *KEPT]
    snapshots = [folder / "forget.parquet"]
    _, forget, retain = again(tmp_path, corpus, {}, {"q0": {"subject_id": "ann"}}, snapshots, rules=Rules())
    assert list(zip(forget["record_id"], forget["match"], strict=True)) == [
        ("crawl", "near-duplicate"), ("a1", "subject_id"),
    ]  # fmt: skip
    assert frame_records(retain) == KEPT


def test_a_forget_set_of_an_earlier_version_will_do(tmp_path, snapshot):
    frame = pd.read_parquet(snapshot).drop(columns=["match", "similarity"])
    frame.to_parquet(snapshot)
    _, forget, _ = again(tmp_path, KEPT, {}, {"q0": {"subject_id": "ann"}}, [snapshot])
    assert list(forget["match"]) == ["record_id"] * 2


def test_a_damaged_snapshot_is_named(tmp_path, snapshot):
    snapshot.write_bytes(snapshot.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"forget\.parquet: cannot be read as Parquet"):
        again(tmp_path, KEPT, {}, {}, [snapshot])
