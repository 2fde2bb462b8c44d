"""Batches of as many tokens as memory holds, padding included, whatever the lengths of the texts in them.

How many that is, is found once for each device and shape of model in a process, and kept: what memory has once failed
to hold is not tried again. Knows nothing of what is done with a batch; it must come out the same however it is cut.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from transformers import PreTrainedModel

from unilogit.errors import InputError
from unilogit.memory import free_memory
from unilogit.progress import ProgressBar

MOST_TOKENS = 1 << 14  # more at once are no faster
SHARE = 0.5  # of the memory that is free

T = TypeVar("T")
log = logging.getLogger(__name__)
_budgets: dict[tuple[str, int], int] = {}  # device, and bytes of a token → tokens


def token_bytes(model: PreTrainedModel) -> int:
    """About what memory one token takes while a model runs without gradients: activations, cache and logits."""
    config = model.config.get_text_config()
    hidden, heads = config.hidden_size, getattr(config, "num_attention_heads", None) or 1
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    width = (getattr(config, "head_dim", None) or hidden // heads) * (
        getattr(config, "num_key_value_heads", None) or heads
    )
    numbers = 6 * hidden + 3 * inner + 2 * config.num_hidden_layers * width
    return int(numbers * model.dtype.itemsize + 4 * config.vocab_size)


def tokens_at_once(model: PreTrainedModel) -> int:
    """How many tokens memory holds beside a model, as far as is known."""
    place = str(model.device), token_bytes(model)
    if place not in _budgets:
        _budgets[place] = max(1, min(MOST_TOKENS, int(SHARE * free_memory(model.device)) // place[1]))
    return _budgets[place]


def within_memory(
    function: Callable[[int], T], model: PreTrainedModel, batch_tokens: int | None, *, smallest: int, largest: int
) -> T:
    """What `function` returns for as many tokens as memory holds, `largest` at the most.

    Args:
        function: called again with fewer tokens where memory has failed.
        model: which it runs.
        batch_tokens: tokens, if they are not to be found.
        smallest: with fewer the work cannot be done.

    Raises:
        InputError: memory does not hold `batch_tokens`, or the least.
    """
    tokens = max(smallest, min(largest, batch_tokens or tokens_at_once(model)))
    while True:
        try:
            return function(tokens)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            if batch_tokens is not None and tokens > smallest:
                raise InputError(
                    f"memory does not hold {tokens} tokens at once; where evaluate.batch_tokens says so many, lower it"
                    " or set it to null, for as many as memory holds; else use a machine with more memory"
                ) from error
            if tokens <= smallest:
                raise InputError(
                    f"memory does not hold the model with a single text of {smallest} tokens; lower model.max_length,"
                    " use a machine with more memory, or end what else runs there"
                ) from error
        # Out of the handler, where what the failed attempt had is given back.
        clear_device_cache(garbage_collection=True)
        fewer = max(smallest, tokens // 2)
        log.warning("memory does not hold %d tokens at once; from now on it is given %d", tokens, fewer)
        tokens = _budgets[str(model.device), token_bytes(model)] = fewer


def in_batches(
    function: Callable[[list[int]], None],
    lengths: Sequence[int],
    model: PreTrainedModel,
    batch_tokens: int | None,
    progress: str | None,
) -> None:
    """Do something with all texts, in batches of similar lengths; longest first, so that memory fails early.

    Args:
        function: is given the positions of a batch in `lengths`; called again with the same ones, or fewer, where
            memory has failed.
        lengths: tokens of each text, with all that is to be generated.
        model: which `function` runs.
        batch_tokens: of a batch, padding included, or one text that is longer; None for as many as memory holds.
        progress: what a progress bar on standard error says; None for no bar.

    Raises:
        InputError: memory does not hold `batch_tokens`, or one text alone.
    """

    def work(rest: list[int], tokens: int) -> int:
        batch = _cut(rest, lengths, tokens)
        function(batch)
        return len(batch)

    rest = _longest_first(lengths)
    with ProgressBar(len(rest), progress) as bar:
        while rest:
            longest = lengths[rest[0]]
            done = within_memory(
                partial(work, rest), model, batch_tokens, smallest=longest, largest=longest * len(rest)
            )
            rest = rest[done:]
            bar.update(done)


def fixed_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """The batches of `in_batches` where their tokens are given: the same ones in every process."""
    rest = _longest_first(lengths)
    while rest:
        batch = _cut(rest, lengths, batch_tokens)
        yield batch
        rest = rest[len(batch) :]


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda position: -lengths[position])


def _cut(order: list[int], lengths: Sequence[int], tokens: int) -> list[int]:
    """The first of `order` that so many tokens hold, one at the least."""
    return order[: max(1, tokens // lengths[order[0]])]
