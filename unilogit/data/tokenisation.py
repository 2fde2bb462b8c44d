"""Prompt and response as token ids: one way for training, scoring and generation.

Both are tokenized as the one text that the model was trained on, and the prompt ends where generation begins. A
response that does not fit beside its prompt is cut into windows. Knows nothing of models.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from unilogit.data.prompt_format import Conversation, Prompt, Rendered, render
from unilogit.errors import InputError

IGNORED = -100  # the label of a token that no loss and no metric counts
CONTEXT_SHARE = 0.25  # of the room beside the prompt, for what stands before a later window's answer tokens
LEAST_ROOM = 16  # tokens that a prompt must leave where its answer needs more than one window
_PROBE = "\ue000"  # for private use: no template holds it
_BEGINNINGS = ("A", "0")  # of answers: a letter, and what no token holds beside one
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


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """The token ids after which the response begins; never empty.

    They are those that the prompt has before an answer: a space at its end, which tokenizers make one token with the
    word that follows, is the answer's. Begin-of-sequence is where the tokenizer, or its chat template, puts it. An
    empty prompt (plain text) is begin-of-sequence alone, or end-of-sequence where the tokenizer puts none: what stood
    before a text in pretraining.

    Raises:
        InputError: the tokenizer has no end-of-sequence token, or the chat template refuses the turns.
    """
    return _Encoder(tokenizer).prompt(prompt)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The token ids of a text as it stands, for the model to go on from: no template, no newline.

    Begin-of-sequence comes first, if the tokenizer puts it there.
    """
    return _Encoder(tokenizer).text(text)


def answer_end(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an answer: of the format's own, else end-of-sequence.

    Raises:
        InputError: there is neither.
    """
    return _Encoder(tokenizer).both(_PROBE, _PROBE)[1][-1]


def encode_pair(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    answer: str,
    *,
    max_length: int | None = None,
    name: str = "a record",
) -> Encoded:
    """Prompt, answer and its end as token ids, for an answer that must stay whole.

    Args:
        max_length: tokens of it all together.
        name: what an error calls the pair.

    Raises:
        InputError: the pair is longer than max_length, or as `encode_prompt`.
    """
    prompt_ids, answer_ids = _Encoder(tokenizer).both(prompt, answer)
    ids = prompt_ids + answer_ids
    if max_length is not None and len(ids) > max_length:
        raise InputError(
            f"{name} has {len(ids)} tokens, but model.max_length is {max_length}; "
            "shorten its prompt or response, or raise model.max_length"
        )
    return Encoded(ids, len(prompt_ids))


def encode_windows(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: str, max_length: int | None, *, name: str = "a record"
) -> list[Encoded]:
    """Prompt, answer and its end as token ids: one window if they fit, else consecutive windows.

    A pair of at most max_length tokens is one window, as `encode_pair` gives it. Otherwise, with
    room = max_length − the prompt's tokens and context = ⌊room · CONTEXT_SHARE⌋, the first window is the prompt and
    the answer's first `room` tokens; each later one is the prompt, the `context` answer tokens that stand before
    and, as far as max_length allows, the answer tokens that follow. So each answer token, its end included,
    counts in exactly one window, in order, and none is left out.

    Args:
        max_length: tokens of a window; None for no limit.
        name: what an error calls the pair.

    Raises:
        InputError: the pair does not fit and its prompt leaves a room of fewer than LEAST_ROOM tokens, or as
            `encode_prompt`.
    """
    return _windows(_Encoder(tokenizer), prompt, answer, max_length, name)


def _windows(encoder: "_Encoder", prompt: Prompt, answer: str, max_length: int | None, name: str) -> list[Encoded]:
    prompt_ids, answer_ids = encoder.both(prompt, answer)
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
    prompts: Sequence[Prompt],
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
    names = names or [f"pair {number}" for number in range(1, len(prompts) + 1)]
    encoder, triples = _Encoder(tokenizer), zip(prompts, answers, names, strict=True)
    return [_windows(encoder, prompt, answer, max_length, name) for prompt, answer, name in triples]


def long_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Iterable[tuple[str, Prompt]], max_length: int
) -> list[LongPrompt]:
    """The prompts that leave fewer than LEAST_ROOM of max_length tokens for an answer: all that training may refuse.

    Only prompts that may have so many tokens are tokenized; most are known by their bytes not to.

    Args:
        prompts: record id and prompt of each record.
        max_length: tokens of prompt and answer together.

    Raises:
        InputError: as `encode_prompt`.
    """
    limit, most_tokens = max_length - LEAST_ROOM, _token_bound(tokenizer)
    return [
        LongPrompt(record_id, tokens, limit)
        for record_id, prompt in prompts
        if most_tokens is None or isinstance(prompt, Conversation) or most_tokens(prompt) > limit
        if (tokens := len(encode_prompt(tokenizer, prompt))) > limit
    ]


def _token_bound(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], int] | None:
    """A function that says how many tokens a user's turn may have at the most; None where nothing is known.

    A token of a byte-level tokenizer, or of SentencePiece's with or without bytes for unknown characters, stands for
    one byte of UTF-8 at least. That is so of the normalised text alone: NFC makes 6 bytes of the 3 of U+0958, NFKC
    33 of the 3 of U+FDFA. Special tokens are longer than one byte.
    """
    if not tokenizer.is_fast:
        return None
    normalizer = tokenizer.backend_tokenizer.normalizer

    def n_bytes(text: str) -> int:
        return len((text if normalizer is None else normalizer.normalize_str(text)).encode())

    turn = render(tokenizer, _PROBE).prompt
    if turn.count(_PROBE) != 1:
        return None
    overhead = len(_Encoder(tokenizer).start) + _LONGEST_PREFIX + n_bytes(turn.replace(_PROBE, ""))
    return lambda prompt: overhead + n_bytes(prompt)


class _Encoder:
    """A tokenizer, and what is the same for many pairs: what stands before a text, and the ids of a prompt."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._before: dict[str, tuple[list[int], str]] = {}

    @cached_property
    def start(self) -> list[int]:
        """What the tokenizer puts before a text: mostly begin-of-sequence or nothing."""
        plain, special = self._ids(_BEGINNINGS[0]), self.tokenizer.encode(_BEGINNINGS[0])
        return next(special[:place] for place in range(len(special)) if special[place : place + len(plain)] == plain)

    def text(self, text: str) -> list[int]:
        return self.start + self._ids(text)

    def prompt(self, prompt: Prompt) -> list[int]:
        if not prompt:
            return self.start or [_end(self.tokenizer)]
        return self._encode_before(render(self.tokenizer, prompt))[0]

    def both(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        """The ids of prompt and answer: of both as one text, where the prompt then is as generation meets it."""
        if not prompt:
            return self.start or [_end(self.tokenizer)], [*self._ids(answer), _end(self.tokenizer)]
        text = render(self.tokenizer, prompt, answer)
        prompt_ids, rest = self._encode_before(text)
        ids = self._after_start(text, text.prompt + text.answer)
        if ids[: len(prompt_ids)] == prompt_ids:
            answer_ids = ids[len(prompt_ids) :]
        else:  # the answer begins with what would be one token with the prompt's end
            answer_ids = self._ids(rest + text.answer)
        return prompt_ids, answer_ids if text.turn_end else [*answer_ids, _end(self.tokenizer)]

    def _encode_before(self, text: Rendered) -> tuple[list[int], str]:
        """The ids that the prompt has whatever answer follows, and the spaces at its end that are the answer's."""
        if known := self._before.get(text.prompt):
            return known
        prompt = text.prompt.rstrip(" ")
        alone = self._after_start(text, prompt)
        letter = self._after_start(text, text.prompt + _BEGINNINGS[0])
        if letter[: len(alone)] != alone:  # two line breaks are one token at the end of a text, and two before a word
            digit = self._after_start(text, text.prompt + _BEGINNINGS[1])
            shared = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(letter, digit, strict=False))]
            if self.tokenizer.decode(shared) == self.tokenizer.decode(alone):
                alone = shared
        return self._before.setdefault(text.prompt, (alone, text.prompt[len(prompt) :]))

    def _after_start(self, rendered: Rendered, text: str) -> list[int]:
        """The ids of a text that begins a sequence."""
        return self._ids(text) if rendered.is_chat else self.text(text)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))


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
