"""What a model makes of each token of given answers, teacher-forced: one forward pass for all metrics of them.

The base of probability, truth ratio, memorisation and most attacks. Knows nothing of records, sets or metrics.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from unilogit.data.tokenisation import IGNORED, collate, encode_pair
from unilogit.scorer import Scorer

LARGEST_BATCH = 128
_LOGITS_AT_ONCE = 1 << 25  # bounds memory, not the result
_LOGITS_IN_CACHE = 1 << 19  # several passes go over each: faster where a processor's cache holds them


T = TypeVar("T")


class TokenScores(NamedTuple):
    """The tokens of one answer, n of them, end-of-sequence the last; arrays of shape [n].

    Attributes:
        log_p: float64, log of the model's probability of the token, in nats.
        is_greedy: bool, whether it is the model's likeliest token (the first, where several are).
        mean, deviation: float64, mean and standard deviation of log p of a token drawn from the model itself;
            empty where not asked for.
    """

    log_p: np.ndarray
    is_greedy: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def nll(self) -> float:
        """Mean of -log p, end-of-sequence included, in nats."""
        return float(-self.log_p.mean())

    def without_end(self) -> "TokenScores":
        """The same less end-of-sequence: what memorisation and Min-K% are about."""
        return TokenScores(*(part[: len(self.log_p) - 1] for part in self))


def within_memory(function: Callable[[int], T], batch_size: int | None) -> T:
    """What `function` returns for the batch size, or for the largest that memory holds when that is None.

    Tried from LARGEST_BATCH downwards, a tenth less after each failure to get memory.
    """
    if batch_size is not None:
        return function(batch_size)
    from accelerate.utils import find_executable_batch_size

    # It wants a parameter of this name, and hands over the size as the first argument.
    def attempt(batch_size: int) -> T:
        return function(batch_size)

    found: T = find_executable_batch_size(attempt, starting_batch_size=LARGEST_BATCH)()
    return found


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """Without gradients or dropout; afterwards the model is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def longest_first(encoded: Sequence[Any], batch_size: int, progress: str | None) -> Iterator[list[int]]:
    """Batches of positions in `encoded`, of similar lengths; longest first, so that memory fails early.

    Args:
        progress: what a progress bar on standard error says; None for no bar.
    """
    order = sorted(range(len(encoded)), key=lambda position: -len(encoded[position]))
    with tqdm(total=len(order), desc=progress, disable=progress is None) as bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            yield batch
            bar.update(len(batch))


def score_tokens(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    answers: Sequence[str],
    batch_size: int,
    *,
    with_distribution: bool = False,
    progress: str | None = None,
) -> list[TokenScores]:
    """Score the tokens of each answer, end-of-sequence included, after its prompt.

    Args:
        model: a causal language model of transformers in any floating-point type, or a `Scorer` of one;
            log-softmax is float32 or wider, over few rows at a time.
        with_distribution: mean and deviation as well, which cost some work on every logit.
        progress: what a progress bar on standard error says; None for no bar.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    pairs = [encode_pair(tokenizer, prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    found: dict[int, TokenScores] = {}
    if not pairs:
        return []
    with inference(model.model if isinstance(model, Scorer) else model):
        scorer = model if isinstance(model, Scorer) else Scorer(model)
        for batch in longest_first([ids for ids, _ in pairs], batch_size, progress):
            columns = _score(scorer, collate([pairs[p] for p in batch], tokenizer.pad_token_id), with_distribution)
            ends = np.cumsum([len(pairs[p][0]) - pairs[p][1] for p in batch])[:-1]
            for position, *parts in zip(batch, *(np.split(column, ends) for column in columns), strict=True):
                found[position] = TokenScores(*parts)
    return [found[position] for position in range(len(pairs))]


def answer_rows(scorer: Scorer, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Of each answer token of a batch, in order: what `scorer.logits` takes, [n, ·], and the token, [n]."""
    device = scorer.model.get_input_embeddings().weight.device
    last = scorer.features(inputs["input_ids"].to(device), inputs["attention_mask"].to(device)).last[:, :-1]
    labels = inputs["labels"][:, 1:].to(last.device)
    answered = labels != IGNORED
    return last[answered], labels[answered]


def rows_at_once(scorer: Scorer) -> int:
    """How many rows of logits may exist at a time."""
    return max(1, _LOGITS_AT_ONCE // scorer.vocabulary)


def _score(scorer: Scorer, inputs: dict[str, Tensor], with_distribution: bool) -> list[np.ndarray]:
    """The columns of TokenScores for all answer tokens of a batch."""
    rows, target = answer_rows(scorer, inputs)
    parts = scorer.within_head(partial(_score_rows, scorer, with_distribution=with_distribution), rows, target)
    return [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]


def _score_rows(scorer: Scorer, rows: Tensor, target: Tensor, with_distribution: bool) -> list[tuple[Tensor, ...]]:
    size, block = rows_at_once(scorer), max(1, _LOGITS_IN_CACHE // scorer.vocabulary)
    return [
        _score_block(logits, of_block, with_distribution)
        for some, wanted in zip(rows.split(size), target.split(size), strict=True)
        for logits, of_block in zip(scorer.logits(some).split(block), wanted.split(block), strict=True)
    ]


def _score_block(logits: Tensor, target: Tensor, with_distribution: bool) -> tuple[Tensor, ...]:
    """The columns of TokenScores for a few rows of logits."""
    largest, likeliest = logits.max(dim=1)
    # A logit of -inf has probability 0 and must not make 0 · inf.
    below = (logits - largest[:, None]).clamp_min_(-1e4)
    of_target = below.gather(1, target[:, None]).squeeze(1)
    weight = below.exp()
    total = weight.sum(dim=1)
    mean = deviation = logits.new_empty(0)
    if with_distribution:
        mean = torch.linalg.vecdot(weight, below) / total
        deviation = torch.linalg.vecdot(weight, below.square_()) / total - mean.square()
        mean = mean - total.log()
        deviation = deviation.clamp_min_(1e-6).sqrt()
    return (of_target - total.log()).double(), likeliest == target, mean.double(), deviation.double()
