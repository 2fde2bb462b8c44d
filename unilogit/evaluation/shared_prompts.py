"""Answers to one prompt in one row of a batch: what they have in common goes through the model once for all of them.

A row is a tree of tokens: the prompt, then each answer, a branch from where it is not like those before it. A token
sees the way to it, by the attention mask, and its position is how far that is. So it is scored as if its answer stood
alone. A model that does not heed such a mask is found by trying. Knows token ids and masks; nothing of what is scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from unilogit.data.tokenisation import Encoded
from unilogit.model import Scorer

MOST_TOKENS = 2048  # of a row: its mask takes as much as their square
_WORTH = 0.8  # of the tokens: with more, long rows and their masks cost more than they save
_AGREES = 1e-3  # of the largest number: as far apart as rows of one model may be


@dataclass
class Row:
    """A prompt and answers to it.

    Attributes:
        ids: token ids, each after the one that it follows.
        parents: of each token, the place of the one that it follows; -1 for the first.
        prompt: how many are the prompt's, which are first.
        answers: of each answer, the places of its tokens.
    """

    ids: list[int]
    parents: list[int]
    prompt: int
    answers: list[list[int]] = field(default_factory=list)
    _next: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of_prompt(cls, ids: Sequence[int]) -> "Row":
        return cls(list(ids), list(range(-1, len(ids) - 1)), len(ids))

    def add(self, answer: Sequence[int]) -> None:
        """Add an answer, a branch from where no other goes on as it does."""
        places, last = [], self.prompt - 1
        for token in answer:
            place = self._next.get((last, token))
            if place is None:
                place = self._next[last, token] = len(self.ids)
                self.ids.append(token)
                self.parents.append(last)
            places.append(place)
            last = place
        self.answers.append(places)


def rows_of(encoded: Sequence[Encoded], limit: int) -> list[tuple[Row, list[int]]]:
    """Rows of all answers, each with the positions of its answers in `encoded`.

    Args:
        limit: tokens of a row that answers to the same prompt share; 0 for one by one.
    """
    rows: list[tuple[Row, list[int]]] = []
    latest: dict[tuple[int, ...], int] = {}
    for place, (ids, start) in enumerate(encoded):
        prompt = tuple(ids[:start])
        number = latest.get(prompt)
        if number is None or len(rows[number][0].ids) + len(ids) - start > limit:
            number = latest[prompt] = len(rows)
            rows.append((Row.of_prompt(prompt), []))
        rows[number][0].add(ids[start:])
        rows[number][1].append(place)
    return rows


def saves(rows: Sequence[tuple[Row, list[int]]], encoded: Sequence[Encoded]) -> bool:
    """Whether rows that are shared have so many fewer tokens than the answers one by one that it is worth it."""
    return sum(len(row.ids) for row, _ in rows) <= _WORTH * sum(len(ids) for ids, _ in encoded)


def run_rows(scorer: Scorer, rows: Sequence[Row], pad_token_id: int | None) -> tuple[Tensor, Tensor]:
    """Of each token of the rows after their prompts, in order: what `scorer.logits` takes, [n, ·], and the token, [n].

    Args:
        pad_token_id: masked, so any will do: None is 0.
    """
    device, dtype, longest = scorer.model.device, scorer.model.dtype, max(len(row.ids) for row in rows)
    input_ids = np.full((len(rows), longest), pad_token_id or 0)
    position_ids = np.zeros_like(input_ids)
    # Padding sees itself: what sees nothing is no number, and would make others so.
    sees = np.repeat(np.eye(longest, dtype=bool)[None], len(rows), axis=0)
    numbers, before, targets = [], [], []  # of each token after a prompt: its row, what it follows, and itself
    for number, row in enumerate(rows):
        input_ids[number, : len(row.ids)] = row.ids
        for place, parent in enumerate(row.parents[1:], start=1):
            sees[number, place] |= sees[number, parent]
            position_ids[number, place] = position_ids[number, parent] + 1
        numbers += [number] * (len(row.ids) - row.prompt)
        before += row.parents[row.prompt :]
        targets += row.ids[row.prompt :]
    hidden = torch.from_numpy(~sees)[:, None]
    mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)
    inputs = (torch.from_numpy(input_ids).to(device), mask.to(device))
    features = scorer.features(*inputs, position_ids=torch.from_numpy(position_ids).to(device)).rows
    chosen = [torch.tensor(places, device=features.device) for places in (numbers, before)]
    return features[chosen[0], chosen[1]], torch.tensor(targets, device=features.device)


def can_share(scorer: Scorer, longest: int) -> bool:
    """Whether answers that share a row are scored as if they stood alone.

    Args:
        longest: tokens of a prompt and one of its answers, at the most.
    """
    config = scorer.model.config.get_text_config()
    window = getattr(config, "sliding_window", None)  # which the mask would have to draw, layer by layer
    return (window is None or longest <= window) and _heeds_masks(scorer)


def _heeds_masks(scorer: Scorer) -> bool:
    """Tried on two answers to one prompt, beside each of them alone."""
    model: PreTrainedModel = scorer.model
    last = model.config.get_text_config().vocab_size - 1
    prompt, answers = [0, last // 2, last], ([last // 3, 0, last], [last, last // 3, last // 2, 0])
    encoded = [Encoded([*prompt, *answer], len(prompt)) for answer in answers]
    [(row, _)] = rows_of(encoded, MOST_TOKENS)
    try:
        shared, _ = run_rows(scorer, [row], None)
    except (TypeError, ValueError, RuntimeError):  # of a body that takes no such mask, or no positions
        return False
    alone = []
    for ids, start in encoded:
        inputs = torch.tensor([ids], device=model.device)
        alone.append(scorer.features(inputs, torch.ones_like(inputs)).rows[0, start - 1 : -1])
    plain = torch.cat(alone)
    return bool((shared - plain).abs().max() <= _AGREES * plain.abs().max())
