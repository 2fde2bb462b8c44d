"""Corpora go in and out whole; every bad line is named, none is lost."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unilogit.data.corpus import read_corpus, read_record_sets, read_records
from unilogit.data.records import COLUMNS, PLACES, CorpusRecord, frame_records, write_corpus
from unilogit.errors import InputError

GOOD = {"record_id": "r1", "subject_ids": ["s1"], "prompt": "Who?", "response": "Ann."}


def corpus(folder: Path, *lines: object, name: str = "corpus.jsonl") -> Path:
    path = folder / name
    path.write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines),
        encoding="utf-8",
    )
    return path


text = st.text(st.characters(exclude_categories=["Cs"]))
identifiers = text.map(str.strip).filter(lambda value: 0 < len(value) <= 200)


def conversation(prompt, **fields):
    """A prompt is empty in plain text alone."""
    return CorpusRecord(prompt=prompt or "Who?" * bool(fields["history"] or fields["system"]), **fields)


records = st.builds(
    conversation,
    record_id=identifiers,
    subject_ids=st.lists(identifiers, max_size=3),
    prompt=text,
    response=text.filter(str.strip),
    paraphrased_prompt=st.none() | text,
    paraphrased_response=st.none() | text,
    alternative_response=st.none() | text.filter(str.strip),
    perturbed_responses=st.lists(text, max_size=3),
    group=text,
    history=st.lists(st.tuples(text, text), max_size=2).map(lambda pairs: [said for pair in pairs for said in pair]),
    system=st.none() | text.filter(str.strip),
    conversation_id=st.none() | identifiers,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(records, min_size=1, max_size=5, unique_by=lambda record: record.record_id))
def test_records_survive_every_way_of_storing_them(tmp_path_factory, originals):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder / "corpus.jsonl", originals)
    assert read_records(folder / "corpus.jsonl") == originals
    frame, bad = read_corpus(folder / "corpus.jsonl")
    assert bad == []
    assert list(frame.columns) == [*COLUMNS, *PLACES]
    assert frame_records(frame) == originals
    frame[COLUMNS].to_parquet(folder / "corpus.parquet")
    assert read_records(folder / "corpus.parquet") == originals


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([json.dumps(GOOD), "{}", "[", "\x00", "", " ", "é"])).map("\n".join).map(str.encode)
)
def test_any_file_at_all_gives_a_row_or_a_bad_record_for_every_line(tmp_path_factory, content):
    assume(not re.match(rb"\s*\[\s*\{|\xff\xfe|\xfe\xff", content))  # a list; UTF-16
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_bytes(content)
    filled = [
        number
        for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
        if line.strip()
    ]
    if not filled:
        with pytest.raises(InputError, match="empty"):
            read_corpus(path)
        return
    frame, bad = read_corpus(path)
    assert sorted([*frame["row"], *(item.row for item in bad)]) == filled
    assert all(item.reasons and item.raw for item in bad)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3),
)


@pytest.mark.filterwarnings("ignore:.*passed over")
@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*COLUMNS, "extra"]) | st.text(), json_values))
def test_any_json_object_is_a_record_or_a_bad_record(tmp_path_factory, fields):
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_bytes(json.dumps(fields).encode() + b"\n")
    frame, bad = read_corpus(path)
    assert len(frame) + len(bad) == 1
    json.dumps([item.reasons for item in bad], ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"record_id": "r1",', "is not JSON"),
        ("[]", "is not a JSON object"),
        ("7", "is not a JSON object"),
        ('{"record_id": "a", "record_id": "b"}', "gives the same field twice"),
        ('{"record_id": NaN}', "holds NaN"),
        ('{"record_id": "\\ud800"}', "lone surrogate"),
        ("[" * 100_000, "is not a JSON object"),
        ('{"a":' * 100_000, "nested too deeply"),
        ({**GOOD, "response": ""}, "field `response` is empty"),
        ({**GOOD, "response": " \n\t"}, "field `response` holds only white space"),
        ({**GOOD, "alternative_response": " "}, "field `alternative_response` holds only white space"),
        ({**GOOD, "response": 7}, "field `response` must be text"),
        ({**GOOD, "response": None}, "field `response` must be text"),
        ({**GOOD, "subject_ids": "s1"}, "field `subject_ids` must be a list of texts"),
        ({**GOOD, "subject_ids": ["s1", 2.0]}, "field `subject_ids` is a number with a decimal point, so that nobody"),
        ({**GOOD, "record_id": 4711.0}, "field `record_id` is a number with a decimal point, so that nobody knows"),
        ({**GOOD, "subject_ids": [True]}, "field `subject_ids` must be text or a whole number, not true or false"),
        ({**GOOD, "history": ["Hello."]}, "field `history` has an odd number of turns"),
        ({**GOOD, "history": [7, "x"]}, r"field `history\[0\]` must be text"),
        ({**GOOD, "prompt": "", "system": "Be kind."}, "field `prompt` is empty beside `history` or `system`"),
        ({**GOOD, "record_id": True}, "field `record_id` must be text"),
        ({**GOOD, "record_id": "x" * 201}, "longer than 200 characters"),
        ({**GOOD, "respones": "typo"}, "field `respones` is not known"),
    ],
)
def test_what_is_wrong_is_said_in_words(tmp_path, line, reason):
    with pytest.raises(InputError, match=rf"^corpus\.jsonl:2: .*{reason}.*; "):
        read_records(corpus(tmp_path, {**GOOD, "record_id": "r0"}, line))


def test_the_sentence_of_a_missing_field(tmp_path):
    path = corpus(tmp_path, *[{**GOOD, "record_id": f"r{i}"} for i in range(16)], {"record_id": "r", "prompt": ""})
    with pytest.raises(InputError) as error:
        read_records(path)
    assert str(error.value) == "corpus.jsonl:17: field `response` is missing; add it or remove the line"


def test_values_are_never_repeated_in_a_reason(tmp_path):
    _, bad = read_corpus(corpus(tmp_path, {**GOOD, "prompt": ["Ann Secret"], "response": {"Ann": "Secret"}}))
    assert "Secret" not in str(bad[0])
    assert "Secret" in bad[0].raw


def test_ten_problems_are_shown_and_the_rest_counted(tmp_path):
    with pytest.raises(InputError) as error:
        read_records(corpus(tmp_path, *["{"] * 13))
    assert len(error.value.problems) == 11
    assert error.value.problems[-1] == "and 3 more"


def test_a_repeated_record_id_names_both_places(tmp_path):
    corpus(tmp_path, GOOD, name="a.jsonl")
    corpus(tmp_path, {**GOOD, "record_id": "r2"}, {**GOOD, "response": "Bob."}, name="b.jsonl")
    with pytest.raises(InputError, match=r"^b\.jsonl:2: field `record_id` repeats that of a\.jsonl:1"):
        read_records(tmp_path)


def test_shards_are_read_by_name_and_temporary_files_passed_over(tmp_path):
    for name in ["b", "a", "c"]:
        corpus(tmp_path, {**GOOD, "record_id": name}, name=f"{name}.jsonl")
    corpus(tmp_path, "{", name=".a.jsonl.swp")
    corpus(tmp_path, "{", name="d.jsonl.part")
    frame, bad = read_corpus(tmp_path)
    assert list(frame["record_id"]) == ["a", "b", "c"]
    assert list(frame["file"]) == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert bad == []


def test_sets_are_named_as_their_files_are(tmp_path):
    for number, name in enumerate(["b.jsonl", "a.jsonl"]):
        corpus(tmp_path, {**GOOD, "record_id": f"r{number}"}, name=name)
    sets = read_record_sets(tmp_path)
    assert {name: [record.record_id for record in records] for name, records in sets.items()} == {
        "a": ["r1"],
        "b": ["r0"],
    }


def test_a_byte_order_mark_blank_lines_and_carriage_returns_are_no_problem(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n" + json.dumps(GOOD | {"record_id": "r2"}).encode()
    )
    frame, bad = read_corpus(path)
    assert (list(frame["row"]), bad) == ([1, 3], [])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.write_text(""), "is empty"),
        (lambda path: path.write_text("\n \n"), "is empty"),
        (lambda path: path.mkdir(), "the folder holds no .jsonl, .json, "),
        (lambda path: (path / "inner").mkdir(parents=True), "is a folder"),
    ],
)
def test_nothing_to_read_is_one_clear_sentence(tmp_path, make, words):
    make(tmp_path / "corpus.jsonl")
    with pytest.raises(InputError, match=words) as error:
        read_corpus(tmp_path / "corpus.jsonl")
    assert len(error.value.problems) == 1


def test_a_file_of_another_kind_stops_the_reading(tmp_path):
    with pytest.raises(InputError, match=r"corpus\.txt: the kind of file is not known"):
        read_corpus(corpus(tmp_path, GOOD, name="corpus.txt"))
    with pytest.raises(InputError, match=r"corpus\.txt"):
        read_corpus(tmp_path)


def test_a_broken_parquet_file_is_said_to_be_broken(tmp_path):
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match=r"corpus\.parquet: cannot be read"):
        read_corpus(tmp_path / "corpus.parquet")


def test_bad_parquet_rows_are_named_by_row(tmp_path):
    pd.DataFrame([GOOD, {**GOOD, "response": None}]).to_parquet(tmp_path / "corpus.parquet")
    frame, bad = read_corpus(tmp_path / "corpus.parquet")
    assert list(frame["row"]) == [1]
    assert str(bad[0]) == "corpus.parquet:2: field `response` is missing; add it or remove the line"


def test_a_failed_write_leaves_the_old_corpus(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", [CorpusRecord(**GOOD)])

    def breaking():
        yield CorpusRecord(**{**GOOD, "record_id": "r9"})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_corpus(tmp_path / "corpus.jsonl", breaking())
    assert [record.record_id for record in read_records(tmp_path / "corpus.jsonl")] == ["r1"]
    assert len(list(tmp_path.iterdir())) == 1
