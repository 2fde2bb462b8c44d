"""Conversations as their turns: who says what, which of it are answers, and what each is given to.

Knows how chat `messages` and ShareGPT's `conversations` spell whose turn it is. Knows nothing of files, of records or
of chat templates.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

# What a turn calls the speaker and what is said.
_SPELLINGS = (("role", "content"), ("from", "value"))
USER, ASSISTANT, SYSTEM, _TOOL = "user", "assistant", "system", "tool"
_SPEAKERS = {
    **dict.fromkeys(("user", "human", "prompter"), USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "chatbot", "model"), ASSISTANT),
    **dict.fromkeys(("system", "developer"), SYSTEM),
    **dict.fromkeys(
        ("tool", "tool_call", "tool_response", "function", "function_call", "observation", "ipython"), _TOOL
    ),
}
_SOMEBODY_ELSE = "somebody else"
_MOST_TOLD = 6  # speakers in a sentence


class Turn(NamedTuple):
    """What one speaker says.

    Attributes:
        speaker: USER, ASSISTANT, SYSTEM, or another word that is nobody's name.
        said: the text.
    """

    speaker: str
    said: str


class Exchange(NamedTuple):
    """An answer of the assistant, and what it is given to.

    Attributes:
        history: the turns before, the user's and the assistant's in turn.
        prompt: what the user said last.
        response: the answer.
    """

    history: list[str]
    prompt: str
    response: str


class Conversation(NamedTuple):
    """A conversation read.

    Attributes:
        system: what the system's turn says; None where there is none.
        exchanges: of each answer that the model learned.
        joined: how many turns were written as more than one.
        unanswered: whether the user's last turn is left out, as nobody answers it.
    """

    system: str | None
    exchanges: list[Exchange]
    joined: int
    unanswered: bool


def read_turns(field: str, value: object) -> list[Turn]:
    """The turns of a list of messages, in either spelling.

    Args:
        field: what a sentence calls the list.

    Raises:
        ValueError: it is no list of turns that say something.
    """
    if not isinstance(value, list):
        raise ValueError(f"field `{field}` must be a list of turns; correct it")
    return [_turn(field, number, turn) for number, turn in enumerate(value, start=1)]


def _turn(field: str, number: int, turn: object) -> Turn:
    where = f"turn {number} of field `{field}`"
    spelling = next(
        (names for names in _SPELLINGS if isinstance(turn, dict) and isinstance(turn.get(names[0]), str)), None
    )
    if spelling is None or not isinstance(turn, dict):
        raise ValueError(f"{where} has no `role` and `content`, nor `from` and `value`; correct it")
    speaker, text = spelling
    said = turn.get(text)
    if isinstance(said, list) and said and all(_is_text(part) for part in said):
        said = "".join(part["text"] for part in said)
    who = _SPEAKERS.get(turn[speaker].strip().lower(), _SOMEBODY_ELSE)
    if who == ASSISTANT and turn.get("tool_calls"):
        return Turn(_TOOL, "")
    if who == _TOOL:
        return Turn(_TOOL, "")
    if not isinstance(said, str):
        raise ValueError(f"{where}: `{text}` must be text; correct it")
    if not said.strip() and who != SYSTEM:
        raise ValueError(f"{where} is empty; write what is said, or remove the turn")
    return Turn(who, said)


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def converse(
    field: str, context: Sequence[Turn], learned: Sequence[Turn] = (), system: str | None = None
) -> Conversation:
    """The conversation that turns make.

    Turns of one speaker in a row are one turn, a line each. The user's last turn is left out where nobody answers it.

    Args:
        field: what a sentence calls the turns.
        context: turns before the first that the model learned; where `learned` is empty, it learned the answers in it.
        learned: the turns from the first that the model learned on.
        system: what stands beside the turns as the system's; it and a turn of the system's are one too many.

    Raises:
        ValueError: no answers of an assistant to a user can be read from it.
    """
    turns = [*context, *learned]
    if turns and turns[0].speaker == SYSTEM:
        if system is not None and system != turns[0].said:
            raise ValueError(f"gives field `system` beside the system's turn of `{field}`; keep one")
        system, turns = turns[0].said, turns[1:]
    skipped = len(context) + len(learned) - len(turns)
    _refuse_others(field, turns)
    first_learned = len(context) - skipped if learned else 0
    said, first, joined = _alternating(turns, first_learned)
    if learned and [turn.speaker for turn in said[: first + 1]][-2:] != [USER, ASSISTANT]:
        raise ValueError(f"field `{field}` must begin with the assistant's turn, after one of the user's; correct it")
    unanswered = bool(said) and said[-1].speaker == USER
    said = said[:-1] if unanswered else said
    if not said:
        raise ValueError(f"field `{field}` has no answer of the assistant; add it or remove the line")
    if said[0].speaker == ASSISTANT:
        words = "begins with the assistant, whose first turn answers nothing"
        raise ValueError(f"field `{field}` {words}; remove that turn, or write the user's before it")
    texts = [text for _, text in said]
    answers = [place for place in range(1, len(texts), 2) if place >= first]
    exchanges = [Exchange(texts[: place - 1], texts[place - 1], texts[place]) for place in answers]
    return Conversation(system if system and system.strip() else None, exchanges, joined, unanswered)


def _refuse_others(field: str, turns: Sequence[Turn]) -> None:
    """Raise ValueError where anybody but user and assistant has a turn."""
    speakers = [turn.speaker for turn in turns]
    if SYSTEM in speakers:
        words = "has a turn of the system's behind its first turn"
        raise ValueError(f"field `{field}` {words}; put what it says into the first turn or into one of the user's")
    if _TOOL in speakers:
        words = "has turns of tools, and what a model answers to them is not read"
        raise ValueError(f"field `{field}` {words}; write what the tool said into the user's turn, or remove the line")
    if _SOMEBODY_ELSE in speakers:
        shown = ", ".join(speakers[:_MOST_TOLD]) + (", …" if len(speakers) > _MOST_TOLD else "")
        words = f"has a speaker who is not known ({shown})"
        raise ValueError(f"field `{field}` {words}; call the speakers `user` and `assistant`, or `human` and `gpt`")


def _alternating(turns: Sequence[Turn], first_learned: int) -> tuple[list[Turn], int, int]:
    """The turns with those of one speaker in a row as one, where the first that was learned is, and how many these are.

    What was learned and what was not are never one turn.
    """
    said: list[Turn] = []
    joined, place = 0, 0
    for is_learned, part in groupby(enumerate(turns), key=lambda item: item[0] >= first_learned):
        place = len(said) if is_learned else place
        for speaker, items in groupby((turn for _, turn in part), key=lambda turn: turn.speaker):
            texts = [turn.said for turn in items]
            joined += len(texts) > 1
            said.append(Turn(speaker, "\n".join(texts)))
    return said, place, joined
