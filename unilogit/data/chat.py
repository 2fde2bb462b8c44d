"""Corpus records written as a conversation: chat `messages` and ShareGPT's `conversations`, as prompt and response.

Knows how the two spell whose turn it is. Knows nothing of files or of chat templates.
"""

from unilogit.files import JsonObject

# Field → its names of the speaker and of what is said.
_SPELLINGS = {"messages": ("role", "content"), "conversations": ("from", "value")}
CONVERSATIONS = tuple(_SPELLINGS)
_USER, _ASSISTANT = ("user", "human"), ("assistant", "gpt", "chatgpt", "bot", "model")


def as_prompt_and_response(fields: JsonObject) -> JsonObject:
    """`fields` with the one question and the one answer of a conversation in place of it; others as they are.

    An `id` beside a conversation is its record_id.

    Raises:
        ValueError: it is no conversation, or has more than a question and an answer.
    """
    names = [name for name in _SPELLINGS if name in fields]
    if not names:
        return fields
    name, *doubles = names + [field for field in ("prompt", "response") if field in fields]
    if doubles:
        raise ValueError(f"gives field `{doubles[0]}` beside `{name}`; keep one")
    turns = fields[name]
    if not isinstance(turns, list):
        raise ValueError(f"field `{name}` must be a list of turns; correct it")
    said = [_turn(name, turn) for turn in turns]
    speakers = [speaker for speaker, _ in said]
    if speakers != ["user", "assistant"]:
        words = f"field `{name}` has {len(said)} turns ({', '.join(speakers[:6])}{', …' if len(said) > 6 else ''})"
        raise ValueError(
            f"{words}, where a record is one question and one answer; write a record for each answer, with a record_id"
            " of its own: `response` is the answer, `prompt` all before it as the model reads it"
        )
    record = {field: value for field, value in fields.items() if field != name}
    if "id" in record and "record_id" not in record:
        record["record_id"] = record.pop("id")
    return {**record, "prompt": said[0][1], "response": said[1][1]}


def _turn(name: str, turn: object) -> tuple[str, str]:
    """Who speaks, and what is said."""
    speaker, text = _SPELLINGS[name]
    if not isinstance(turn, dict) or not isinstance(turn.get(speaker), str):
        raise ValueError(f"a turn of field `{name}` has no `{speaker}` and `{text}`; correct it")
    said = turn.get(text)
    match said:
        case [{"type": "text", "text": str(only)}]:
            said = only
    if not isinstance(said, str):
        raise ValueError(f"the `{text}` of a turn of field `{name}` must be text; correct it")
    who = turn[speaker].lower()
    return ("user" if who in _USER else "assistant" if who in _ASSISTANT else _harmless(who)), said


def _harmless(speaker: str) -> str:
    return speaker if speaker in ("system", "tool", "function", "developer") else "somebody else"
