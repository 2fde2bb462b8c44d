"""What a model makes of each token of given answers, teacher-forced: one forward pass for all metrics of them.

The base of probability, truth ratio, memorisation and most attacks. Knows nothing of records, sets or metrics.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.tokenisation import IGNORED, Encoded, collate, encode_all
from unilogit.evaluation.batching import in_batches, tokens_at_once
from unilogit.evaluation.shared_prompts import MOST_TOKENS, can_share, rows_of, run_rows, saves
from unilogit.model import Scorer, context_length, make_scorer

_LOGITS_AT_ONCE = 1 << 25  # bounds memory, not the result
_LOGITS_IN_CACHE = 1 << 19  # several passes go over each: faster where a processor's cache holds them


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
        return TokenScores(*(column[: len(self.log_p) - 1] for column in self))

    @classmethod
    def concatenate(cls, windows: Sequence["TokenScores"]) -> "TokenScores":
        """The scores of an answer that was cut into windows, in their order."""
        return cls(*(np.concatenate(columns) for columns in zip(*windows, strict=True)))


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Without gradients or dropout; afterwards the model is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def score_tokens(
    model: PreTrainedModel | Scorer,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    names: Sequence[str] | None = None,
    with_distribution: bool = False,
    progress: str | None = None,
    windows: Sequence[list[Encoded]] | None = None,
) -> list[TokenScores]:
    """Score the tokens of each answer, end-of-sequence included, after its prompt.

    An answer too long for the model is scored whole, over the windows of `encode_windows`. Answers to one prompt share
    its way through the model, where the model can (`unilogit.evaluation.shared_prompts`).

    Args:
        model: a causal language model of transformers in any floating-point type, or a `Scorer` of one;
            log-softmax is float32 or wider, over few rows at a time.
        batch_tokens: at once, as in `in_batches`.
        max_length: tokens of a window; the model's context where that is less, or where this is None.
        names: what an error calls each pair; by default "pair 1", "pair 2", …
        with_distribution: mean and deviation as well, which cost some work on every logit.
        progress: what a progress bar on standard error says; None for no bar.
        windows: what `encode_all` makes of the pairs, where they are scored more than once.

    Raises:
        InputError: a prompt leaves its answer no room, the tokenizer has no end-of-sequence token, or as `in_batches`.
    """
    plain_model = model.model if isinstance(model, Scorer) else model
    if windows is None:
        windows = encode_all(tokenizer, prompts, answers, context_length(plain_model, max_length), names)
    encoded = [window for answer in windows for window in answer]
    scores: dict[int, TokenScores] = {}
    if not encoded:
        return []
    with inference(plain_model):
        scorer = model if isinstance(model, Scorer) else make_scorer(model)
        longest = max(len(window.ids) for window in encoded)
        rows = rows_of(encoded, min(MOST_TOKENS, batch_tokens or tokens_at_once(plain_model)))
        is_shared = saves(rows, encoded) and can_share(scorer, longest)
        if not is_shared:
            rows = rows_of(encoded, 0)

        def score(batch: list[int]) -> None:
            chosen = [rows[number][0] for number in batch]
            if is_shared:
                scored = run_rows(scorer, chosen, tokenizer.pad_token_id)
            else:
                alone = [(row.ids, row.prompt) for row in chosen]
                scored = answer_rows(scorer, collate(alone, tokenizer.pad_token_id))
            columns, first = _score(scorer, *scored, with_distribution), 0
            for number, row in zip(batch, chosen, strict=True):
                for place, way in zip(rows[number][1], row.answers, strict=True):
                    tokens = np.array(way) - row.prompt + first
                    scores[place] = TokenScores(*(column[tokens] if len(column) else column for column in columns))
                first += len(row.ids) - row.prompt

        in_batches(score, [len(row.ids) for row, _ in rows], plain_model, batch_tokens, progress)
    in_order = iter(scores[place] for place in range(len(encoded)))
    return [TokenScores.concatenate(list(islice(in_order, len(answer)))) for answer in windows]


def answer_rows(scorer: Scorer, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Of each answer token of a batch, in order: what `scorer.logits` takes, [n, ·], and the token, [n]."""
    device = scorer.model.device
    last = scorer.features(inputs["input_ids"].to(device), inputs["attention_mask"].to(device)).rows[:, :-1]
    labels = inputs["labels"][:, 1:].to(last.device)
    answered = labels != IGNORED
    return last[answered], labels[answered]


def rows_at_once(scorer: Scorer) -> int:
    """How many rows of logits may exist at a time."""
    return max(1, _LOGITS_AT_ONCE // scorer.vocabulary)


def _score(scorer: Scorer, rows: Tensor, target: Tensor, with_distribution: bool) -> list[np.ndarray]:
    """The columns of TokenScores for all answer tokens of a batch."""
    parts = scorer.within_head(partial(_score_rows, scorer, with_distribution=with_distribution), rows, target)
    return [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]


def _score_rows(scorer: Scorer, rows: Tensor, target: Tensor, with_distribution: bool) -> list[tuple[Tensor, ...]]:
    size = rows_at_once(scorer)
    block = size if rows.is_cuda else max(1, _LOGITS_IN_CACHE // scorer.vocabulary)  # a GPU would wait for launches
    return [
        _score_block(logits, block_target, with_distribution)
        for part, part_target in zip(rows.split(size), target.split(size), strict=True)
        for logits, block_target in zip(scorer.logits(part).split(block), part_target.split(block), strict=True)
    ]


def _score_block(logits: Tensor, target: Tensor, with_distribution: bool) -> tuple[Tensor, ...]:
    """The columns of TokenScores for a few rows of logits."""
    largest, likeliest = logits.max(dim=1)
    # A logit of -inf has probability 0 and must not make 0 · inf.
    shifted = (logits - largest[:, None]).clamp_min_(-1e4)
    target_logit = shifted.gather(1, target[:, None]).squeeze(1)
    weight = shifted.exp()
    total = weight.sum(dim=1)
    mean = deviation = logits.new_empty(0)
    if with_distribution:
        mean = torch.linalg.vecdot(weight, shifted) / total
        deviation = torch.linalg.vecdot(weight, shifted.square_()) / total - mean.square()
        mean = mean - total.log()
        deviation = deviation.clamp_min_(1e-6).sqrt()
    return (target_logit - total.log()).double(), likeliest == target, mean.double(), deviation.double()
