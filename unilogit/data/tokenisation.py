"""Prompt and response as token ids: one format for training, scoring and generation.

Prompt and response are tokenized apart and joined, so that the first response token is the same one in
all three. A response that does not fit beside its prompt is cut into windows. Knows nothing of models.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from unilogit.errors import InputError

IGNORED = -100  # the label of a token that no loss and no metric counts
CONTEXT_SHARE = 0.25  # of the room beside the prompt, for what stands before a later window's answer tokens
LEAST_ROOM = 16  # tokens that a prompt must leave where its answer needs more than one window
# Templates that tell the model today's date would otherwise give another prompt every day.
TEMPLATE_DATE = "10 Apr 2025"
_FIXED_DATE = "{% macro strftime_now(format) %}" + TEMPLATE_DATE + "{% endmacro +%}"
_PROBE = "\ue000"  # for private use: no template holds it
_LONGEST_PREFIX = 3  # bytes of the "▁" that SentencePiece may put before a text


class Encoded(NamedTuple):
    """One example as token ids.

    Attributes:
        ids: the prompt, answer tokens that are context alone (in later windows), and answer tokens.
        answer_start: position of the first answer token that counts; all from there on do.
    """

    ids: list[int]
    answer_start: int


class LongPrompt(NamedTuple):
    """A prompt that leaves too little room for an answer.

    Attributes:
        record_id: of its record.
        tokens: how many it has.
        limit: how many it may have.
    """

    record_id: str
    tokens: int
    limit: int


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The token ids after which the response begins; never empty.

    With a chat template, the prompt is a user's turn and the assistant's begins. Without one, it is
    begin-of-sequence (if the tokenizer has it), the prompt and a newline. An empty prompt (plain text) is
    begin-of-sequence alone, or end-of-sequence where there is none: what stood before a text in pretraining.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    end = _end(tokenizer)
    if not prompt:
        return _start(tokenizer) or [end]
    if tokenizer.chat_template is not None:
        return tokenizer.encode(_render_turn(tokenizer, prompt), add_special_tokens=False)
    return encode_text(tokenizer, prompt + "\n")


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The token ids of a text as it stands, for the model to go on from: no template, no newline.

    Begin-of-sequence comes first, if the tokenizer has it.
    """
    return _start(tokenizer) + tokenizer.encode(text, add_special_tokens=False)


def encode_pair(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    answer: str,
    *,
    max_length: int | None = None,
    name: str = "a record",
) -> Encoded:
    """Prompt, answer and end-of-sequence as token ids, for an answer that must stay whole.

    Args:
        max_length: tokens of it all together.
        name: what an error calls the pair.

    Raises:
        InputError: the pair is longer than max_length, or the tokenizer has no end-of-sequence token.
    """
    prompt_ids = encode_prompt(tokenizer, prompt)
    ids = prompt_ids + _encode_answer(tokenizer, answer)
    if max_length is not None and len(ids) > max_length:
        raise InputError(
            f"{name} has {len(ids)} tokens, but model.max_length is {max_length}; "
            "shorten its prompt or response, or raise model.max_length"
        )
    return Encoded(ids, len(prompt_ids))


def encode_windows(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, max_length: int | None, *, name: str = "a record"
) -> list[Encoded]:
    """Prompt, answer and end-of-sequence as token ids: one window if they fit, else consecutive windows.

    A pair of at most max_length tokens is one window, as `encode_pair` gives it. Otherwise, with
    room = max_length − the prompt's tokens and context = ⌊room · CONTEXT_SHARE⌋, the first window is the prompt and
    the answer's first `room` tokens; each later one is the prompt, the `context` answer tokens that stand before
    and, as far as max_length allows, the answer tokens that follow. So each answer token, end-of-sequence included,
    counts in exactly one window, in order, and none is left out.

    Args:
        max_length: tokens of a window; None for no limit.
        name: what an error calls the pair.

    Raises:
        InputError: the pair does not fit and its prompt leaves a room of fewer than LEAST_ROOM tokens, or the
            tokenizer has no end-of-sequence token.
    """
    prompt_ids, answer_ids = encode_prompt(tokenizer, prompt), _encode_answer(tokenizer, answer)
    room = len(answer_ids) if max_length is None else max_length - len(prompt_ids)
    if room < min(len(answer_ids), LEAST_ROOM):
        raise InputError(
            f"{name}: its prompt has {len(prompt_ids)} tokens, but prompt and answer may have {max_length} together "
            f"(model.max_length, or the model's context if that is less) and an answer needs {LEAST_ROOM} of them; "
            "shorten the prompt, or raise model.max_length"
        )
    context = int(room * CONTEXT_SHARE)
    later = range(room, len(answer_ids), room - context)
    return [
        Encoded(prompt_ids + answer_ids[:room], len(prompt_ids)),
        *(
            Encoded(prompt_ids + answer_ids[start - context : start - context + room], len(prompt_ids) + context)
            for start in later
        ),
    ]


def encode_all(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    answers: Sequence[str],
    max_length: int | None,
    names: Sequence[str] | None = None,
) -> list[list[Encoded]]:
    """`encode_windows` of each prompt with its answer.

    Args:
        names: what an error calls each pair; by default "pair 1", "pair 2", …

    Raises:
        InputError: as `encode_windows`.
    """
    if names is None:
        names = [f"pair {number}" for number in range(1, len(prompts) + 1)]
    return [
        encode_windows(tokenizer, prompt, answer, max_length, name=name)
        for prompt, answer, name in zip(prompts, answers, names, strict=True)
    ]


def long_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Iterable[tuple[str, str]], max_length: int
) -> list[LongPrompt]:
    """The prompts that leave fewer than LEAST_ROOM of max_length tokens for an answer: all that training may refuse.

    Only prompts that may have so many tokens are tokenized; most are known by their bytes not to.

    Args:
        prompts: record id and prompt of each record.
        max_length: tokens of prompt and answer together.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    limit, most_tokens = max_length - LEAST_ROOM, _token_bound(tokenizer)
    return [
        LongPrompt(record_id, tokens, limit)
        for record_id, prompt in prompts
        if most_tokens is None or most_tokens(prompt) > limit
        if (tokens := len(encode_prompt(tokenizer, prompt))) > limit
    ]


def _token_bound(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], int] | None:
    """A function that says how many tokens a prompt may have at the most; None where nothing is known.

    A token of a byte-level tokenizer, or of SentencePiece's with or without bytes for unknown characters, stands for
    one byte of UTF-8 at least. That is so of the normalised text alone: NFC makes 6 bytes of the 3 of U+0958, NFKC
    33 of the 3 of U+FDFA. Special tokens are longer than one byte.
    """
    if not tokenizer.is_fast:
        return None
    normalizer = tokenizer.backend_tokenizer.normalizer

    def n_bytes(text: str) -> int:
        return len((text if normalizer is None else normalizer.normalize_str(text)).encode())

    turn = _PROBE + "\n" if tokenizer.chat_template is None else _render_turn(tokenizer, _PROBE)
    if turn.count(_PROBE) != 1:
        return None
    overhead = len(_start(tokenizer)) + _LONGEST_PREFIX + n_bytes(turn.replace(_PROBE, ""))
    return lambda prompt: overhead + n_bytes(prompt)


def _render_turn(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """The prompt as a user's turn of the chat template, and the beginning of the assistant's."""
    return str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            tokenize=False,
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            date_string=TEMPLATE_DATE,
        )
    )


def _encode_answer(tokenizer: PreTrainedTokenizerBase, answer: str) -> list[int]:
    return [*tokenizer.encode(answer, add_special_tokens=False), _end(tokenizer)]


def _start(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    return [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]


def _end(tokenizer: PreTrainedTokenizerBase) -> int:
    end: int | None = tokenizer.eos_token_id
    if end is None:
        where = tokenizer.name_or_path or "the tokenizer"
        raise InputError(f"{where}: has no end-of-sequence token; set `eos_token` in its tokenizer_config.json")
    return end


def collate(batch: Sequence[tuple[list[int], int]], pad_token_id: int | None) -> dict[str, Tensor]:
    """Pad encoded examples on the right.

    Args:
        batch: of `Encoded`.
        pad_token_id: masked, so any will do: None is 0.

    Returns:
        input_ids, attention_mask and labels, each int64 of shape (batch, longest); labels are the input
        ids from answer_start on and IGNORED elsewhere.
    """
    longest = max(len(ids) for ids, _ in batch)
    input_ids = torch.full((len(batch), longest), pad_token_id or 0)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, IGNORED)
    for row, (ids, answer_start) in enumerate(batch):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        attention_mask[row, : len(ids)] = 1
        labels[row, answer_start : len(ids)] = input_ids[row, answer_start : len(ids)]
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
