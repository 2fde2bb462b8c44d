"""Conversations in every spelling, against the turns that they were made of; what is none is refused with advice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.data.chat import ASSISTANT, SYSTEM, USER, Exchange, Turn, converse, read_turns

ASK, ANSWER = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "In Linz."}
SPELT = {
    USER: ["user", "human", "User", " Human ", "prompter"],
    ASSISTANT: ["assistant", "gpt", "Assistant", "bot", "model"],
    SYSTEM: ["system", "developer", "System"],
}
said = st.text(min_size=1, max_size=4).filter(str.strip)


def spelt(draw, speaker, text):
    who = draw(st.sampled_from(SPELT[speaker]))
    names = draw(st.sampled_from([("role", "content"), ("from", "value")]))
    content = draw(st.sampled_from([text, [{"type": "text", "text": text}]]))
    return dict(zip(names, (who, content), strict=True)) | draw(st.sampled_from([{}, {"weight": 1}]))


@given(st.data(), st.none() | said, st.lists(st.tuples(said, said), min_size=1, max_size=4), st.none() | said)
def test_every_answer_with_all_that_came_before(data, system, pairs, last):
    """Written turn by turn, in one of the spellings, and perhaps with a question that nobody answers."""
    turns = [(speaker, text) for pair in pairs for speaker, text in zip((USER, ASSISTANT), pair, strict=True)]
    written = [(SYSTEM, system)] * (system is not None) + turns + [(USER, last)] * (last is not None)
    conversation = converse("messages", read_turns("messages", [spelt(data.draw, *turn) for turn in written]))
    texts = [text for _, text in turns]
    assert conversation.system == system
    assert conversation.exchanges == [Exchange(texts[: 2 * place], *pair) for place, pair in enumerate(pairs)]
    assert (conversation.joined, conversation.unanswered) == (0, last is not None)


@given(st.lists(st.tuples(st.sampled_from([USER, ASSISTANT]), said), max_size=6))
def test_turns_of_one_speaker_in_a_row_are_one(turns):
    """Whatever the order: each text is read once, or the conversation is refused."""
    try:
        conversation = converse("messages", [Turn(*turn) for turn in turns])
    except ValueError:
        assert not turns or turns[0][0] == ASSISTANT or {speaker for speaker, _ in turns} == {USER}
        return
    *_, last = conversation.exchanges
    lines = "\n".join([*last.history, last.prompt, last.response])
    end = max(place for place, (speaker, _) in enumerate(turns) if speaker == ASSISTANT) + 1
    assert lines == "\n".join(text for _, text in turns[:end])
    assert conversation.unanswered == (end < len(turns))
    runs = [speaker for place, (speaker, _) in enumerate(turns) if place == 0 or turns[place - 1][0] != speaker]
    assert len(conversation.exchanges) == runs.count(ASSISTANT)


def test_what_is_context_alone_is_no_answer_that_was_learned():
    """As TRL trains on a completion."""
    asked = [Turn(SYSTEM, "s"), Turn(USER, "a"), Turn(ASSISTANT, "b"), Turn(USER, "c")]
    learned = [Turn(ASSISTANT, "d"), Turn(USER, "e"), Turn(ASSISTANT, "f")]
    assert converse("completion", asked, learned).exchanges == [
        Exchange(["a", "b"], "c", "d"),
        Exchange(["a", "b", "c", "d"], "e", "f"),
    ]
    for context, completion in ([asked[:3], learned], [asked, learned[1:]], [[], learned], [asked[:1], learned]):
        with pytest.raises(ValueError, match="must begin with the assistant's turn, after one of the user's; correct"):
            converse("completion", context, completion)


def test_a_system_text_beside_the_turns():
    turns = [Turn(USER, "a"), Turn(ASSISTANT, "b")]
    assert converse("messages", turns, system="s").system == "s"
    assert converse("messages", [Turn(SYSTEM, "s"), *turns], system="s").system == "s"
    assert converse("messages", [Turn(SYSTEM, " "), *turns]).system is None
    with pytest.raises(ValueError, match="gives field `system` beside the system's turn of `messages`; keep one"):
        converse("messages", [Turn(SYSTEM, "s"), *turns], system="other")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "has no answer of the assistant"),
        ([ASK], "has no answer of the assistant"),
        ([ANSWER, ASK, ANSWER], "begins with the assistant, whose first turn answers nothing"),
        ([ASK, ANSWER, {"role": "system", "content": "x"}], "has a turn of the system's behind its first turn"),
        ([ASK, {"role": "tool", "content": "x"}, ANSWER], "has turns of tools"),
        ([ASK, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, ANSWER], "has turns of tools"),
        ([{"from": "human", "value": "x"}, {"from": "function_call", "value": "{}"}], "has turns of tools"),
        ([{"role": "Ann Lee", "content": "x"}, ANSWER], "speaker who is not known (somebody else, assistant)"),
        ([ASK, {**ASK, "role": "Ann Lee"}] * 4, "user, somebody else, …)"),
        ("Where?", "field `messages` must be a list of turns"),
        ([ASK, "In Linz."], "turn 2 of field `messages` has no `role` and `content`, nor `from` and `value`"),
        ([ASK, {**ANSWER, "content": None}], "turn 2 of field `messages`: `content` must be text"),
        ([ASK, {**ANSWER, "content": [{"type": "image"}]}], "must be text"),
        ([ASK, {**ANSWER, "content": []}], "must be text"),
        ([ASK, {**ANSWER, "content": " \n"}], "turn 2 of field `messages` is empty; write what is said"),
        ([{**ASK, "content": ""}, ANSWER], "turn 1 of field `messages` is empty"),
        ([{"role": 7, "content": "x"}], "turn 1 of field `messages` has no `role`"),
    ],
)
def test_what_is_no_conversation_is_refused(messages, words):
    with pytest.raises(ValueError, match="; ") as error:
        converse("messages", read_turns("messages", messages))
    assert words in str(error.value)
    assert "Ann" not in str(error.value)
