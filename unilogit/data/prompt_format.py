"""How a model is asked: prompts as the text that it was trained on, by its chat template or by a format string.

A format string becomes a chat template, so there is one way to render. Knows nothing of token ids or of models.
"""

import copy
import json
from functools import cache
from string import Formatter
from typing import TYPE_CHECKING, NamedTuple

from unilogit.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AUTO, CHAT_TEMPLATE = "auto", "chat_template"
NEWLINE = "{prompt}\n{response}"  # of models without a chat template
# Templates that tell the model today's date would otherwise give another prompt every day.
TEMPLATE_DATE = "10 Apr 2025"
_FIXED_DATE = "{% macro strftime_now(format) %}" + TEMPLATE_DATE + "{% endmacro +%}"
_OF_A_FORMAT = "{# of a format string #}"  # marks a template made by `_compiled`
_PROBE = "\ue000"  # for private use: no template holds it


class Conversation(NamedTuple):
    """A prompt that is more than one turn.

    Attributes:
        turns: the user's first and last, and the assistant's between them, in turn.
        system: what the system's turn says; None for no such turn, or for the one that the format gives.
    """

    turns: tuple[str, ...]
    system: str | None = None


Prompt = str | Conversation
"""What an answer is given to: the one turn of a user ("" for plain text), or a conversation."""


class Rendered(NamedTuple):
    """A prompt and perhaps its answer as text.

    Attributes:
        prompt: up to where the assistant begins.
        answer: the rest of the assistant's turn up to its end, as it is written there.
        turn_end: the special token in which `answer` ends; None where the format has none.
        is_chat: by a template of the tokenizer's own, which writes begin-of-sequence itself where it is wanted.
    """

    prompt: str
    answer: str
    turn_end: str | None
    is_chat: bool


def with_prompt_format(
    tokenizer: "PreTrainedTokenizerBase", prompt_format: str = AUTO, system_prompt: str | None = None
) -> "PreTrainedTokenizerBase":
    """A tokenizer by which prompts and answers are rendered so; the given one stays as it is, to be saved.

    Args:
        prompt_format: "auto" (the tokenizer's chat template, or `NEWLINE` where it has none), "chat_template", or a
            format string with {prompt} and {response}, which replaces a chat template.
        system_prompt: what the system's turn of a chat template says; None for what the template does by itself.

    Raises:
        InputError: there is no chat template, or the format string is none.
    """
    formatted = copy.deepcopy(tokenizer)
    if prompt_format not in (AUTO, CHAT_TEMPLATE):
        try:
            formatted.chat_template = _compiled(prompt_format)
        except ValueError as error:
            raise InputError(f"model.prompt_format is {prompt_format!r}: {error}") from None
    elif prompt_format == CHAT_TEMPLATE and tokenizer.chat_template is None:
        where = tokenizer.name_or_path or "the tokenizer"
        raise InputError(
            f"{where}: has no chat template, but model.prompt_format is chat_template; add the template to the "
            "model's folder, or write the format, like 'Question: {prompt}\\nAnswer: {response}'"
        )
    if system_prompt is not None:
        if not is_chat(formatted):
            raise InputError(
                "model.system_prompt needs a chat template; write what it says into model.prompt_format instead"
            )
        turn = '[{"role": "system", "content": ' + json.dumps(system_prompt, ensure_ascii=False) + "}]"
        formatted.chat_template = (
            "{% if messages[0]['role'] != 'system' %}{% set messages = " + turn + " + messages %}{% endif +%}"
        ) + formatted.get_chat_template()
    return formatted


def check_format(prompt_format: str) -> str:
    """`prompt_format` if `with_prompt_format` takes it; else a ValueError that says why not."""
    if prompt_format not in (AUTO, CHAT_TEMPLATE):
        _compiled(prompt_format)
    return prompt_format


def is_chat(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether prompts are rendered by a chat template of the tokenizer's own."""
    return tokenizer.chat_template is not None and not tokenizer.get_chat_template().startswith(_OF_A_FORMAT)


def render(tokenizer: "PreTrainedTokenizerBase", prompt: Prompt, answer: str | None = None) -> Rendered:
    """A prompt as the model reads it, and an answer as it would have to write it.

    What follows the end of the assistant's turn is left out: no model is to write it.

    Args:
        answer: None for the prompt alone.

    Raises:
        InputError: the template refuses the turns, or renders an answer otherwise than it asks for one.
    """
    messages = _messages(prompt)
    question = _apply(tokenizer, messages, add_generation_prompt=True)
    if answer is None:
        return Rendered(question, "", None, is_chat(tokenizer))
    whole = _answered(tokenizer, messages, answer)
    if answer == answer.strip() and whole.startswith(question + answer):
        after_content = whole[len(question) + len(answer) :]
    else:  # the template may write an answer otherwise than it is given, without the spaces around it, say
        probe = _answered(tokenizer, messages, _PROBE)
        after_content = probe.rpartition(_PROBE)[2]
        if not (whole.startswith(question) and whole.endswith(after_content) and _PROBE in probe):
            where = tokenizer.name_or_path or "the tokenizer"
            raise InputError(
                f"{where}: its chat template renders an answer otherwise than it asks for one, so it cannot be told "
                "which tokens are the answer; write the format that the model was trained on into model.prompt_format"
            )
    turn_end, rest = _after_turn_end(tokenizer, after_content)
    return Rendered(question, whole[len(question) : len(whole) - len(rest)], turn_end, is_chat(tokenizer))


def _answered(tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]], answer: str) -> str:
    return _apply(tokenizer, [*messages, {"role": "assistant", "content": answer}], add_generation_prompt=False)


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    conversation = Conversation((prompt,)) if isinstance(prompt, str) else prompt
    roles = ("user", "assistant")
    system = [] if conversation.system is None else [{"role": "system", "content": conversation.system}]
    return system + [{"role": roles[place % 2], "content": content} for place, content in enumerate(conversation.turns)]


def _apply(tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    template = _compiled(NEWLINE) if tokenizer.chat_template is None else tokenizer.get_chat_template()
    try:
        return str(
            tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=add_generation_prompt,
                tokenize=False,
                chat_template=_FIXED_DATE + template,
                date_string=TEMPLATE_DATE,
            )
        )
    except TemplateError as error:
        where = tokenizer.name_or_path or "the tokenizer"
        roles = ", ".join(message["role"] for message in messages)
        raise InputError(
            f"{where}: its chat template refuses the turns {roles} ({error}); correct model.system_prompt or the "
            "corpus, or write the format into model.prompt_format"
        ) from None


def _after_turn_end(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[str | None, str]:
    """The first special token of what follows an answer, and the rest; where there is none, what may be left out."""
    special = set(tokenizer.all_special_tokens)
    special |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    places = [(text.index(token), -len(token), token) for token in special if token and token in text]
    if not places:
        return None, text[len(text.rstrip()) :]
    start, _, token = min(places)
    return token, text[start + len(token) :]


@cache
def _compiled(prompt_format: str) -> str:
    """A format string as a chat template; turns that follow each other stand on lines of their own.

    Raises:
        ValueError: it does not hold {prompt} and {response} once each, in this order.
    """
    literals, names, is_plain = [""], [], True
    for literal, name, specification, conversion in Formatter().parse(prompt_format):
        literals[-1] += literal
        if name is not None:
            names.append(name)
            literals.append("")
            is_plain = is_plain and not (specification or conversion)
    if names != ["prompt", "response"] or not is_plain:
        raise ValueError(
            "write auto, chat_template, or a format with {prompt} and {response} once each, in this order, like "
            "'Question: {prompt}\\nAnswer: {response}'"
        )
    opening, middle, closing = (json.dumps(literal, ensure_ascii=False) for literal in literals)
    return (
        _OF_A_FORMAT + "{% for message in messages %}"
        "{% if message['role'] == 'user' %}{{ " + opening + " + message['content'] + " + middle + " }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + " + closing + " }}"
        "{{ '' if loop.last else '\\n' }}"
        "{% else %}{{ message['content'] + '\\n' }}{% endif %}{% endfor %}"
    )
