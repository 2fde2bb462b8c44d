"""The pairs of a training set as examples: one each, or one for each window of a long response.

Knows tokens and their limit. Knows nothing of models or of the order in which examples are met.
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.tokenisation import Encoded, encode_all, encode_pair, encode_windows


def encode_set(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[Prompt, str]], kind: str, *, max_length: int | None
) -> list[Encoded]:
    """The windows of each prompt with its response, in order.

    Args:
        kind: what an error calls the set: "forget" makes it "forget pair 3".
        max_length: tokens of a window.

    Raises:
        InputError: as `encode_windows`.
    """
    prompts, answers = [prompt for prompt, _ in pairs], [answer for _, answer in pairs]
    names = [f"{kind} pair {number}" for number in range(1, len(pairs) + 1)]
    return [window for windows in encode_all(tokenizer, prompts, answers, max_length, names) for window in windows]


def encode_preferred(
    tokenizer: PreTrainedTokenizerBase,
    forget: Sequence[tuple[Prompt, str]],
    alternatives: Sequence[str],
    *,
    max_length: int | None,
) -> list[Encoded]:
    """The better answer to the prompt of each example that `encode_set` makes of `forget`.

    Each window of a long response is compared with the whole better answer, which has to fit.

    Args:
        alternatives: a better answer to each forget prompt.

    Raises:
        InputError: a better answer with its prompt is longer than max_length, or as `encode_windows`.
    """
    examples = []
    for number, (pair, answer) in enumerate(zip(forget, alternatives, strict=True), start=1):
        name = f"the better answer to forget pair {number}, with its prompt,"
        better = encode_pair(tokenizer, pair[0], answer, max_length=max_length, name=name)
        examples += [better] * len(encode_windows(tokenizer, *pair, max_length))
    return examples


def split_windows(log_target: Sequence[np.ndarray], examples: Sequence[Encoded]) -> list[np.ndarray]:
    """The targets of each example, where long answers were cut into windows.

    Args:
        log_target: of each answer, an array whose last axis has an entry for each of its tokens; empty for none.
        examples: of these answers, in order, as `encode_set` makes them.

    Raises:
        ValueError: they have other tokens.
    """
    if not len(log_target):
        return []
    counts = [len(example.ids) - example.answer_start for example in examples]
    ends = np.cumsum(counts)
    together = np.concatenate(log_target, axis=-1)
    ends_told = np.cumsum([values.shape[-1] for values in log_target])
    if ends_told[-1] != sum(counts) or not set(ends_told) <= set(ends):
        raise ValueError(f"targets of {ends_told[-1]} tokens for answers of {sum(counts)}: of other answers or tokens")
    return np.split(together, ends[:-1], axis=-1)
