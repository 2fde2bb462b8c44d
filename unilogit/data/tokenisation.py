"""Prompt and response as token ids: one format for training, scoring and generation.

Prompt and response are tokenized apart and joined, so that the first response token is the same one in
all three. Knows nothing of models.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unilogit.errors import InputError

IGNORED = -100  # the label of a token that no loss and no metric counts
# Templates that tell the model today's date would otherwise give another prompt every day.
TEMPLATE_DATE = "10 Apr 2025"
_FIXED_DATE = "{% macro strftime_now(format) %}" + TEMPLATE_DATE + "{% endmacro +%}"


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """The token ids after which the response begins; never empty.

    With a chat template, the prompt is a user's turn and the assistant's begins. Without one, it is
    begin-of-sequence (if the tokenizer has it), the prompt and a newline. An empty prompt (plain text) is
    begin-of-sequence alone, or end-of-sequence where there is none: what stood before a text in pretraining.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    end = _end(tokenizer)
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    if not prompt:
        return start or [end]
    if tokenizer.chat_template is not None:
        ids: list[int] = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_dict=False,
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            date_string=TEMPLATE_DATE,
        )
        return ids
    return encode_text(tokenizer, prompt + "\n")


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """The token ids of a text as it stands, for the model to go on from: no template, no newline.

    Begin-of-sequence comes first, if the tokenizer has it.
    """
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return start + tokenizer.encode(text, add_special_tokens=False)


def encode_pair(
    tokenizer: Any, prompt: str, answer: str, *, max_length: int | None = None, name: str = "a record"
) -> tuple[list[int], int]:
    """Prompt, answer and end-of-sequence as token ids.

    Args:
        max_length: tokens of it all together.
        name: what an error calls the pair.

    Returns:
        (input_ids, answer_start): answer tokens, the end included, are input_ids[answer_start:].

    Raises:
        InputError: the pair is longer than max_length, or the tokenizer has no end-of-sequence token.
    """
    prompt_ids = encode_prompt(tokenizer, prompt)
    input_ids = [*prompt_ids, *tokenizer.encode(answer, add_special_tokens=False), _end(tokenizer)]
    if max_length is not None and len(input_ids) > max_length:
        raise InputError(
            f"{name} has {len(input_ids)} tokens, but model.max_length is {max_length}; "
            "shorten its prompt or response, or raise model.max_length"
        )
    return input_ids, len(prompt_ids)


def _end(tokenizer: Any) -> int:
    end: int | None = tokenizer.eos_token_id
    if end is None:
        where = tokenizer.name_or_path or "the tokenizer"
        raise InputError(f"{where}: has no end-of-sequence token; set `eos_token` in its tokenizer_config.json")
    return end


def collate(batch: Sequence[tuple[list[int], int]], pad_token_id: int | None) -> dict[str, Tensor]:
    """Pad encoded pairs on the right.

    Args:
        batch: what `encode_pair` returns.
        pad_token_id: masked, so any will do: None is 0.

    Returns:
        input_ids, attention_mask and labels, each int64 of shape (batch, longest); labels are the input
        ids at answer tokens and IGNORED elsewhere.
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
