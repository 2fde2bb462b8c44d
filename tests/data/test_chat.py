"""A question and its answer are read from every spelling of a conversation; more turns are refused with advice."""

import json

import pytest

from unilogit.data.chat import as_prompt_and_response
from unilogit.data.records import read_records
from unilogit.errors import InputError

USER, ANSWER = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "In Linz."}


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [USER, ANSWER]},
        {"messages": [{**USER, "content": [{"type": "text", "text": "Where?"}]}, ANSWER]},
        {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "In Linz."}]},
        {"conversations": [{"from": "User", "value": "Where?"}, {"from": "Assistant", "value": "In Linz."}]},
    ],
)
def test_a_question_and_its_answer(fields):
    assert as_prompt_and_response({"id": "r-1", "group": "g", **fields}) == {
        "record_id": "r-1",
        "group": "g",
        "prompt": "Where?",
        "response": "In Linz.",
    }


def test_other_records_are_left_as_they_are():
    fields = {"record_id": "r-1", "id": 3, "prompt": "Where?", "response": "In Linz."}
    assert as_prompt_and_response(fields) == fields


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "has 0 turns"),
        ({"messages": [ANSWER, USER]}, "has 2 turns (assistant, user)"),
        (
            {"messages": [USER, ANSWER, USER, ANSWER]},
            "has 4 turns (user, assistant, user, assistant), where a record is",
        ),
        ({"messages": [{"role": "system", "content": "x"}, USER, ANSWER]}, "has 3 turns (system, user, assistant)"),
        ({"messages": [{"role": "Ann Lee", "content": "x"}, ANSWER]}, "has 2 turns (somebody else, assistant)"),
        ({"messages": [USER] * 9}, "user, …), where"),
        ({"messages": "Where?"}, "field `messages` must be a list of turns"),
        ({"messages": [USER, "In Linz."]}, "a turn of field `messages` has no `role` and `content`"),
        ({"messages": [{"from": "human", "value": "x"}]}, "a turn of field `messages` has no `role` and `content`"),
        ({"messages": [USER, {**ANSWER, "content": None}]}, "the `content` of a turn of field `messages` must be text"),
        ({"messages": [USER, {**ANSWER, "content": [{"type": "image"}]}]}, "must be text"),
        ({"messages": [USER, ANSWER], "prompt": "x"}, "gives field `prompt` beside `messages`; keep one"),
        ({"messages": [USER, ANSWER], "conversations": []}, "gives field `conversations` beside `messages`; keep one"),
    ],
)
def test_what_is_no_question_and_answer_is_refused(tmp_path, fields, words):
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps({"record_id": "r-1", **fields}) + "\n")
    with pytest.raises(InputError) as error:
        read_records(path)
    [problem] = error.value.problems
    assert words in problem
    assert "; " in problem
    assert "Ann" not in problem


def test_the_advice_for_several_turns_works(tmp_path):
    """A record for each answer, as the sentence says."""
    rows = [
        {"record_id": "r-1-a", "prompt": "Where?", "response": "In Linz."},
        {"record_id": "r-1-b", "prompt": "Where?\nIn Linz.\nSince when?", "response": "Since May."},
    ]
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [record.record_id for record in read_records(path)] == ["r-1-a", "r-1-b"]
