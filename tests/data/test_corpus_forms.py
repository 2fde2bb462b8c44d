"""One fact in every form that training data has is one record; two forms in a row are refused by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.data.corpus_forms import JOINED, MADE_ID, NAMELESS, UNANSWERED, read_row
from unilogit.data.records import CorpusRecord

said = st.text(min_size=1, max_size=6).filter(str.strip)
exchanges = st.lists(st.tuples(said, said), min_size=1, max_size=3)


def messages(pairs, system=None, names=("role", "content"), speakers=("user", "assistant")):
    turns = [] if system is None else [("system", system)]
    turns += [turn for pair in pairs for turn in zip(speakers, pair, strict=True)]
    return [dict(zip(names, turn, strict=True)) for turn in turns]


def records_of(name, pairs, system):
    """What any form of these exchanges must give."""
    turns = [text for pair in pairs for text in pair]
    several = len(pairs) > 1
    return [
        CorpusRecord(
            record_id=f"{name}#{number + 1}" if several else name,
            conversation_id=name if several else None,
            subject_ids=["s"],
            group="g",
            history=turns[: 2 * number],
            prompt=prompt,
            response=response,
            system=system,
        )
        for number, (prompt, response) in enumerate(pairs)
    ]


def forms(pairs, system):
    *earlier, (prompt, response) = pairs
    beside = {} if system is None else {"system": system}
    history = {"history": [list(pair) for pair in earlier]} if earlier else {}
    yield "messages", {"messages": messages(pairs, system)}
    yield "messages", {"messages": messages(pairs), **beside}
    yield "ShareGPT", {"conversations": messages(pairs, system, ("from", "value"), ("human", "gpt"))}
    yield "ShareGPT", {"conversations": messages(pairs, None, ("from", "value"), ("human", "gpt")), **beside}
    yield "Alpaca", {"instruction": prompt, "input": "", "output": response, **history, **beside}
    yield "Alpaca", {"instruction": prompt, "output": response, "text": "rendered", **history, **beside}
    yield "Alpaca", {"input": prompt, "output": response, **history, **beside}
    yield "question and answer", {"question": prompt, "answer": response, **history, **beside}
    yield "prompt and completion", {"prompt": prompt, "completion": response, **history, **beside}
    yield "prompt and response", {"prompt": prompt, "response": response, **history, **beside}


@given(exchanges, st.none() | said, st.sampled_from(["record_id", "id"]))
def test_one_conversation_in_every_form(pairs, system, identifier):
    expected = records_of("r-1", pairs, system)
    for form, row in forms(pairs, system):
        read = read_row({identifier: "r-1", "subject_ids": ["s"], "group": "g", **row})
        [text.pop("text", None) for text in read.records]
        assert (read.form, [CorpusRecord(**record) for record in read.records]) == (form, expected)
        assert read.notes == {}


@given(exchanges, said, said)
def test_a_completion_is_learned_and_its_prompt_is_context(pairs, prompt, response):
    """TRL's conversational form, or with one of them as text."""
    context = [*messages(pairs), {"role": "user", "content": prompt}]
    for row in (
        {"prompt": context, "completion": [{"role": "assistant", "content": response}]},
        {"prompt": context, "completion": response},
        {"prompt": context, "response": response},
    ):
        [record] = read_row({"record_id": 7, **row}).records
        history = [text for pair in pairs for text in pair]
        assert record == {"record_id": 7, "history": history, "prompt": prompt, "response": response}
    answers = [{"role": "assistant", "content": response}, *messages(pairs)]
    read = read_row({"record_id": 7, "prompt": prompt, "completion": answers})
    assert [record["response"] for record in read.records] == [response, *(answer for _, answer in pairs)]
    assert [record["record_id"] for record in read.records] == [f"7#{n + 1}" for n in range(len(pairs) + 1)]


def test_a_record_of_ours_is_left_as_it_is():
    fields = {"record_id": "r-1", "id": 3, "prompt": "Where?", "response": "In Linz.", "respones": 1}
    assert read_row(fields).records == [fields]
    turns = {**fields, "history": ["Hello.", "Hello, Ada."], "conversation_id": "c", "perturbed_responses": ["x"]}
    del turns["id"]
    assert read_row({**turns, "system": "", "paraphrased_prompt": "x"}).records == [
        {**turns, "paraphrased_prompt": "x"}
    ]
    assert read_row({"record_id": "r", "prompt": "", "response": "x"}).form == "prompt and response"
    assert read_row({"record_id": "r", "text": "x"}).records == [{"record_id": "r", "prompt": "", "response": "x"}]
    assert read_row({"record_id": "r", "prompt": "Where?", "text": "x"}).records[0]["text"] == "x"  # no answer of it


def test_alpaca_puts_the_input_behind_the_instruction():
    [record] = read_row({"id": "r", "instruction": "Translate.", "input": "Haus", "output": "house"}).records
    assert record == {"record_id": "r", "prompt": "Translate.\nHaus", "response": "house"}


def test_what_is_not_as_it_was_written_is_noted():
    turns = messages([("a", "b")])
    assert read_row({"record_id": "r", "messages": [turns[0], *turns, turns[0]]}).notes == {JOINED: 1, UNANSWERED: 1}
    read = read_row({"messages": turns})
    assert read.notes == {NAMELESS: 1}
    assert read.records[0]["record_id"].startswith(MADE_ID)


def test_an_id_is_made_of_what_a_row_says():
    """The same wherever it stands; another for other people or other words."""
    rows = [
        {"prompt": "a", "response": "b"},
        {"response": "b", "prompt": "a", "group": "g", "record_id": None},
        {"prompt": "a", "response": "b", "subject_ids": ["s"]},
        {"prompt": "a", "response": "c"},
        {"prompt": "a", "response": "b", "system": "s"},
        {"prompt": "a", "response": "b", "history": ["x", "y"]},
        {"question": "a", "answer": "b", "record_id": float("nan")},
    ]
    names = [read_row(row).records[0]["record_id"] for row in rows]
    assert names[0] == names[1] == names[6]
    assert len(set(names)) == 5
    conversation = read_row({"conversation_id": "c", "messages": messages([("a", "b"), ("c", "d")])})
    assert [record["record_id"] for record in conversation.records] == ["c#1", "c#2"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"messages": [], "prompt": "x"},
            "gives field `prompt` beside `messages`; keep one, or pass the other over",
        ),
        ({"messages": [], "conversations": []}, "gives field `conversations` beside `messages`; keep one"),
        ({"messages": [], "history": [["a", "b"]]}, "gives field `history` beside `messages`; keep one"),
        ({"prompt": "a", "response": "b", "completion": "c"}, "gives field `completion` beside `response`; keep one"),
        ({"question": "a", "output": "c"}, "gives field `question` beside `output`; keep one"),
        ({"instruction": "a", "response": "c"}, "gives field `instruction` beside `response`; keep one"),
        ({"prompt": [], "completion": "x", "history": ["a", "b"]}, "gives field `history` beside messages; write it"),
        ({"prompt": "x", "completion": []}, "field `completion` is empty; fill it in or remove the line"),
        ({"instruction": "x"}, "field `output` is missing; add it or remove the line"),
        ({"output": "x"}, "field `instruction` is missing; add it or remove the line"),
        (
            {"question": "x", "answer": " "},
            "field `answer` holds only white space; write the answer or remove",
        ),
        ({"question": "x", "answer": ""}, "field `answer` is empty; fill it in or remove the line"),
        ({"question": 7, "answer": "x"}, "field `question` must be text; put its value in quotes"),
        ({"completion": "x"}, "field `prompt` is missing; add it or remove the line"),
        ({"text": ["x"]}, "field `text` must be text; put its value in quotes"),
        ({"question": "x", "answer": "y", "system": 7}, "field `system` must be text; put its value in quotes"),
        ({"question": "x", "answer": "y", "history": [["a", ""]]}, "field `history` has a pair with an empty text"),
        (
            {"messages": messages([("a", "b")] * 2), "paraphrased_prompt": "x"},
            "gives field `paraphrased_prompt` beside 2 answers, and does not say to which it belongs; take it out, or",
        ),
        (
            {"messages": messages([("a", "b")] * 2), "conversation_id": "c"},
            "gives field `conversation_id` beside `record_id` and several answers; keep one",
        ),
        (
            {"messages": messages([("a", "b")] * 2), "record_id": 4711.0},
            "field `record_id` is a number with a decimal point, so that nobody knows the id; export it as text",
        ),
    ],
)
def test_what_is_in_two_forms_or_in_none_is_refused(row, words):
    with pytest.raises(ValueError, match="; ") as error:
        read_row({"record_id": "r-1", **row})
    assert str(error.value).startswith(words)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from"]), inner),
)
names = ["record_id", "id", "prompt", "response", "completion", "instruction", "input", "output", "question", "answer"]
names += ["messages", "conversations", "history", "system", "text"]


@given(st.dictionaries(st.sampled_from(names), json_values))
def test_any_row_is_read_or_refused_in_a_sentence(row):
    try:
        read = read_row(row)
    except ValueError as error:
        sentence = str(error)
        assert "; " in sentence
        return
    assert read.records
    assert all("record_id" in record for record in read.records)
    json.dumps(read.records)
