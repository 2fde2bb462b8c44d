"""What a record is, and by which ids it is asked for."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unilogit.data.matching import NAMES
from unilogit.data.prompt_format import Conversation
from unilogit.data.records import CORPUS_SCHEMA, CorpusRecord, frame_contexts, record_place
from unilogit.data.selectors import Kind

GOOD = {"record_id": "r1", "subject_ids": ["s1"], "prompt": "Who?", "response": "Ann."}


def test_a_response_is_blank_where_python_says_it_is():
    white = [character for character in map(chr, range(0x110000)) if character.isspace()]
    for blank in [*white, "".join(white)]:
        with pytest.raises(ValidationError):
            CorpusRecord(**{**GOOD, "response": blank})
        assert CorpusRecord(**{**GOOD, "response": f"{blank}a{blank}"}).response == f"{blank}a{blank}"


def test_a_record_is_asked_for_by_its_conversation_and_by_the_answers_in_its_history():
    turns = ["q", "a"]
    third = CorpusRecord(**{**GOOD, "record_id": "c#3", "conversation_id": "c", "history": turns * 2})
    assert third.names == ["c#3", "c", "c#1", "c#2"]
    assert third.model_copy(update={"history": turns}).names == ["c#3", "c", "c#1"]  # as far as it says
    assert third.model_copy(update={"record_id": "x"}).names == ["x", "c"]
    assert third.model_copy(update={"record_id": "c"}).names == ["c"]
    assert CorpusRecord(**GOOD).names == ["r1"]


@settings(max_examples=60, deadline=None)
@given(
    st.text("c#1-9", min_size=1, max_size=5),
    st.none() | st.text("c#1", min_size=1, max_size=3),
    st.integers(0, 3),
)
def test_the_corpus_in_duckdb_has_the_same_names(record_id, conversation_id, exchanges):
    record = CorpusRecord(
        **{**GOOD, "record_id": record_id, "conversation_id": conversation_id, "history": ["q", "a"] * exchanges}
    )
    corpus = pa.Table.from_pylist([record.model_dump()], schema=CORPUS_SCHEMA).append_column("row_number", [[0]])
    with duckdb.connect() as connection:
        connection.register("corpus", corpus)
        names = connection.execute(NAMES[Kind.RECORD_ID]).fetchall()
    assert sorted(name for _, name in names) == sorted(record.names)


def test_every_answer_has_a_place_of_its_own():
    assert [record_place("a.jsonl", 7, answer) for answer in (0, 1)] == ["a.jsonl:7", "a.jsonl:7#1"]


said = st.text(min_size=1, max_size=5)
contexts = st.builds(
    lambda prompt, pairs, system: CorpusRecord(
        **{**GOOD, "prompt": prompt, "history": [text for pair in pairs for text in pair], "system": system}
    ),
    said,
    st.lists(st.tuples(said, said), max_size=2),
    st.none() | said.filter(str.strip),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(contexts, min_size=1, max_size=4))
def test_what_a_response_is_given_to(records):
    """A text alone, or a conversation; the same from a frame, whatever pandas makes of what is not there."""
    for record in records:
        turns = (*record.history, record.prompt)
        is_plain = len(turns) == 1 and record.system is None
        assert record.context == (record.prompt if is_plain else Conversation(turns, record.system))
    frame = pa.Table.from_pylist([record.model_dump() for record in records], schema=CORPUS_SCHEMA).to_pandas()
    assert frame_contexts(frame) == [record.context for record in records]
    assert frame_contexts(frame[["prompt"]]) == [record.prompt for record in records]


def test_a_prompt_in_other_words_is_asked_after_the_same_turns():
    record = CorpusRecord(**{**GOOD, "history": ["a", "b"], "system": "s"})
    assert record.asked("And who?") == Conversation(("a", "b", "And who?"), "s")
    assert CorpusRecord(**GOOD).asked("And who?") == "And who?"
