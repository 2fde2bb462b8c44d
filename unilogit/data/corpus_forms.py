"""Rows of a corpus in the forms that training data has, as the fields of records: one for each answer.

A row's form is told by its fields: our own, prompt and completion (TRL), instruction and output (Alpaca), question and
answer, chat messages, ShareGPT's conversations, or text alone. Knows nothing of files; what a record must be besides,
its model says (records.py).
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from unilogit.data.cells import identifier
from unilogit.data.chat import ASSISTANT, USER, Conversation, Exchange, Turn, converse, read_turns
from unilogit.files import JsonObject

MADE_ID = "sha256:"  # begins the id of a record that was given none: a digest of what it says
JOINED, UNANSWERED, NAMELESS = "joined", "unanswered", "nameless"
# What is not as it was written, of one row or more: {} is how many.
NOTES = {
    JOINED: "{} turns of one speaker in a row are read as one, a line each",
    UNANSWERED: "{} conversations end with the user; that turn is in no record, as nobody answers it",
    NAMELESS: "{} rows have no `record_id`, and are called by a digest of what they say",
}
_OF_ONE_ANSWER = ("paraphrased_prompt", "paraphrased_response", "alternative_response", "perturbed_responses")


class Read(NamedTuple):
    """What a row says.

    Attributes:
        form: the name of its form.
        records: the fields of each record.
        notes: of NOTES, with how many of them there are.
    """

    form: str
    records: list[JsonObject]
    notes: dict[str, int]


@dataclass(frozen=True)
class _Form:
    """A way to write prompt and response.

    Attributes:
        name: what people call it.
        marks: its fields; one of them, and none of another form, tells it.
        read: the row → its conversation; None where it says so in `prompt` and `response` themselves, as they are.
        uses: further fields that it reads.
    """

    name: str
    marks: tuple[str, ...]
    read: Callable[[JsonObject], Conversation | None]
    uses: tuple[str, ...] = field(default=())


def _messages(name: str) -> Callable[[JsonObject], Conversation]:
    return lambda row: converse(name, read_turns(name, row[name]), system=_system(row))


def _own(row: JsonObject) -> Conversation | None:
    if conversation := _answered(row, "response"):
        return conversation
    return _said(row, _text(row, "prompt"), "response") if _pairs(row) else None


def _completion(row: JsonObject) -> Conversation:
    """https://huggingface.co/docs/trl/dataset_formats: what stands in `prompt` is context alone, answers in it too."""
    return _answered(row, "completion") or _said(row, _text(row, "prompt"), "completion")


def _answered(row: JsonObject, answer: str) -> Conversation | None:
    """Of a prompt or an answer that are lists of messages; None where both are text."""
    prompt, said = row.get("prompt"), row.get(answer)
    if not (isinstance(prompt, list) or isinstance(said, list)):
        return None
    if row.get("history"):
        raise ValueError("gives field `history` beside messages; write it into them")
    context = read_turns("prompt", prompt) if isinstance(prompt, list) else [Turn(USER, _text(row, "prompt"))]
    learned = read_turns(answer, said) if isinstance(said, list) else [Turn(ASSISTANT, _answer(row, answer))]
    if not learned:
        raise ValueError(f"field `{answer}` is empty; fill it in or remove the line")
    return converse(answer, context, learned, _system(row))


def _alpaca(row: JsonObject) -> Conversation:
    """https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md: `input` is a line behind `instruction`."""
    names = [name for name in ("instruction", "input") if row.get(name) is not None]
    parts = [_text(row, name) for name in names or ["instruction"]]
    return _said(row, "\n".join(part for part in parts if part), "output")


def _question(row: JsonObject) -> Conversation:
    return _said(row, _text(row, "question"), "answer")


def _plain(row: JsonObject) -> Conversation:
    return _said(row, "", "text")


def _said(row: JsonObject, prompt: str, answer: str) -> Conversation:
    """A prompt and the answer in a field, after earlier ones: pairs, which the model learned too, or context alone."""
    response, system = _answer(row, answer), _system(row)
    if pairs := _pairs(row):
        turns = [Turn(speaker, said) for pair in pairs for speaker, said in zip((USER, ASSISTANT), pair, strict=True)]
        return converse("history", [*turns, Turn(USER, prompt), Turn(ASSISTANT, response)], system=system)
    return Conversation(system, [Exchange(row.get("history") or [], prompt, response)], joined=0, unanswered=False)


def _pairs(row: JsonObject) -> list[list[str]]:
    """The history as LLaMA-Factory writes it, a pair for each question and answer; none where it is not written so."""
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        return []
    if not all(isinstance(text, str) and text.strip() for pair in history for text in pair):
        raise ValueError("field `history` has a pair with an empty text; fill it in or remove the pair")
    return history


def _text(row: JsonObject, name: str) -> str:
    if name not in row:
        raise ValueError(f"field `{name}` is missing; add it or remove the line")
    value = row[name]
    if not isinstance(value, str):
        raise ValueError(f"field `{name}` must be text; put its value in quotes")
    return value


def _answer(row: JsonObject, name: str) -> str:
    text = _text(row, name)
    if not text.strip():
        wrong = "holds only white space; write the answer" if text else "is empty; fill it in"
        raise ValueError(f"field `{name}` {wrong} or remove the line")
    return text


def _system(row: JsonObject) -> str | None:
    system = row.get("system")
    if system is None or isinstance(system, str):
        return system if system and system.strip() else None
    raise ValueError("field `system` must be text; put its value in quotes")


_EARLIER = ("history", "system")
_OWN = _Form("prompt and response", ("response",), _own, ("prompt", *_EARLIER))
_TEXT = _Form("text", ("text",), _plain, _EARLIER)
_FORMS = (
    _OWN,
    _Form("prompt and completion", ("completion",), _completion, ("prompt", *_EARLIER)),
    _Form("Alpaca", ("instruction", "input", "output"), _alpaca, _EARLIER),
    _Form("question and answer", ("question", "answer"), _question, _EARLIER),
    _Form("messages", ("messages",), _messages("messages"), ("system",)),
    _Form("ShareGPT", ("conversations",), _messages("conversations"), ("system",)),
)
_FORM_OF = {mark: form for form in _FORMS for mark in form.marks}
_FOREIGN = frozenset({*_FORM_OF, *_TEXT.marks, "history", "system"} - {"response"})
FORM_FIELDS = (*_FORM_OF, *_TEXT.marks)  # that tell a form


def read_row(row: JsonObject) -> Read:
    """The records that a row makes; of fields that are no form's, and of what is no text, nothing is said here.

    Raises:
        ValueError: the row is in two forms, or in one that it does not keep to.
    """
    is_named = isinstance(row.get("record_id"), str | int)
    if is_named and _FOREIGN.isdisjoint(row) and isinstance(row.get("prompt"), str):
        return Read(_OWN.name, [row], {})  # as most are: much faster
    form = _form_of(row)
    conversation = form.read(row)
    rest = {name: value for name, value in row.items() if name not in _EARLIER or value not in (None, "", [])}
    if conversation:
        rest = {name: value for name, value in rest.items() if name not in form.marks and name not in form.uses}
    notes: dict[str, int] = {NAMELESS: 1} if _name(rest, row, conversation) else {}
    if not conversation:
        return Read(form.name, [rest], notes)
    notes |= {JOINED: conversation.joined} if conversation.joined else {}
    notes |= {UNANSWERED: 1} if conversation.unanswered else {}
    return Read(form.name, _records(rest, conversation), notes)


def _form_of(row: JsonObject) -> _Form:
    """The form of a row, by its fields.

    Raises:
        ValueError: it is in two.
    """
    marks = [mark for mark in _FORM_OF if mark in row]
    form = _FORM_OF[marks[0]] if marks else _TEXT if "text" in row and "prompt" not in row else _OWN
    doubles = [mark for mark in marks if mark not in form.marks]
    doubles += [name for name in ("prompt", "history") if row.get(name) and name not in form.uses]
    if doubles:
        words = f"gives field `{doubles[0]}` beside `{marks[0]}`; keep one"
        raise ValueError(f"{words}, or pass the other over with data.corpus_mapping: {{{doubles[0]}: null}}")
    return form


def _name(rest: JsonObject, row: JsonObject, conversation: Conversation | None) -> bool:
    """Give `rest` its record_id: its own, its `id`, its conversation's, or a digest, of which True tells."""
    spare = rest.pop("id", None)
    for value in (rest.get("record_id"), spare, rest.get("conversation_id") if conversation else None):
        if not (value is None or (isinstance(value, float) and math.isnan(value))):
            rest["record_id"] = value
            return False
    said = [row.get("subject_ids") or []]
    if conversation:
        said += [conversation.system, *conversation.exchanges[-1]]
    else:
        said += [rest.get("system"), rest.get("history", []), row.get("prompt"), row.get("response")]
    content = json.dumps(said, sort_keys=True, default=str)
    rest["record_id"] = MADE_ID + hashlib.sha256(content.encode()).hexdigest()[:24]
    return True


def _records(rest: JsonObject, conversation: Conversation) -> list[JsonObject]:
    """The fields of a record for each answer."""
    exchanges = conversation.exchanges
    has_several = len(exchanges) > 1
    if has_several:
        _refuse_what_is_of_one(rest, len(exchanges))
        try:
            name = identifier(rest.pop("record_id"))
        except ValueError as error:
            raise ValueError(f"field `record_id` {error}") from error
        rest.pop("conversation_id", None)
    records = []
    for number, (history, prompt, response) in enumerate(exchanges, start=1):
        record: JsonObject = {**rest, "prompt": prompt, "response": response}
        if has_several:
            record |= {"record_id": f"{name}#{number}", "conversation_id": name}
        if history:
            record["history"] = history
        if conversation.system is not None:
            record["system"] = conversation.system
        records.append(record)
    return records


def _refuse_what_is_of_one(rest: JsonObject, answers: int) -> None:
    for name in _OF_ONE_ANSWER:
        if rest.get(name):
            words = f"gives field `{name}` beside {answers} answers, and does not say to which it belongs"
            raise ValueError(f"{words}; take it out, or write a record for each answer, with `history`")
    conversation = rest.get("conversation_id")
    if conversation is not None and conversation != rest["record_id"]:
        raise ValueError("gives field `conversation_id` beside `record_id` and several answers; keep one")
