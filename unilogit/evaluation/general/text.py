"""A text of our own to measure perplexity on: prose on many subjects, a little of it in other languages than English.

It ships with the library, under its licence. Knows how perplexity is made of scores; nothing of how a run uses it.
"""

from functools import cache
from importlib.resources import files

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.evaluation.token_scores import score_tokens


@cache
def general_passages() -> tuple[str, ...]:
    """Its passages, of one paragraph each."""
    text = files(__package__).joinpath("text.txt").read_text(encoding="utf-8")
    return tuple(text.strip().split("\n\n"))


def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    passages: tuple[str, ...],
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    progress: str | None = None,
) -> float:
    """exp of the mean NLL of a token of the passages as plain text; comparable between models of one tokenizer.

    The end of a passage is left out: how a text goes on is not for a chat model's end of turn to say.

    Args:
        batch_tokens: at once, as in `in_batches`.
        max_length: tokens of a window; the model's context where that is less, or where this is None.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        At least 1; infinite where it is beyond a float, NaN where the model's likelihoods are.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    scores = score_tokens(
        model,
        tokenizer,
        [""] * len(passages),
        passages,
        batch_tokens=batch_tokens,
        max_length=max_length,
        progress=progress,
    )
    with np.errstate(over="ignore"):
        return float(np.exp(-np.concatenate([passage.without_end().log_p for passage in scores]).mean()))
