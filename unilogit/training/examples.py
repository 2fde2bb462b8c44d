"""The order in which examples are met: each forget example beside its retain examples, all epochs at once.

Knows encoded examples and nothing of models.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unilogit.data.tokenisation import Encoded, collate

RETAIN, FORGET, PREFERRED, FILLER = 0, 1, 2, 3  # roles of a row in a batch
BUCKET = 16  # steps that are sorted by length together
NOT_MEASURED = np.empty(0, dtype=np.float32)


class Row(NamedTuple):
    """A row of a batch.

    Attributes:
        example: its token ids, and where its answer starts.
        role: what it is there for.
        reference_log_p: log p of its answer tokens under the model before unlearning, where a loss needs it.
        log_target: log of the probability that each of its answer tokens is driven to, where that is each token's own.
    """

    example: Encoded
    role: int
    reference_log_p: np.ndarray = NOT_MEASURED
    log_target: np.ndarray = NOT_MEASURED


FILLING = [Row(Encoded([0, 0], 2), FILLER)]  # no answer, so no loss counts it


class PairedExamples(Dataset[list[Row]]):
    """Each forget example with its better answer, if it has one, and its retain examples.

    The order is drawn once from the seed, so a resumed run meets the same batches. Retain examples come
    from reshuffled passes over the whole retain set, so all are met equally often; neighbours likewise.
    Steps are of examples of similar length, as far as `BUCKET` steps at a time allow: less padding, still random.
    All steps are of `batch_size` positions, the last one filled up with rows that count nothing: processes that
    share a step would otherwise be given examples of the first one again, to be even.

    Args:
        forget, retain: encoded examples.
        epochs: how often each forget example is met.
        batch_size: forget examples in a step.
        retain_per_forget: retain examples beside each of them, where there are any.
        seed: of the order.
        neighbours: retain examples that resemble the forgotten.
        neighbour_share: the chance that a retain example is drawn from them.
        preferred: better answers, one for each forget example, or none at all.
        splices: of each forget example, ways to begin otherwise (`draw_splices`), which are met beside it in turn; or
            none at all.

    Attributes:
        reference_log_p: of each forget example, then of each better answer, log p of its answer tokens under the
            model before unlearning; empty until somebody has measured it.
        log_target: of each forget example, what its answer tokens are driven to, as it stands and in its splices,
            [2, tokens]; empty where that is one for all.
    """

    def __init__(
        self,
        forget: Sequence[Encoded],
        retain: Sequence[Encoded],
        *,
        epochs: int,
        batch_size: int,
        retain_per_forget: int,
        seed: int,
        neighbours: Sequence[Encoded] = (),
        neighbour_share: float = 0.0,
        preferred: Sequence[Encoded] = (),
        splices: Sequence[Sequence[Encoded]] = (),
    ) -> None:
        self.forget, self.retain, self.preferred = forget, [*retain, *neighbours], preferred
        self.batch_size, self.splices = batch_size, splices
        self.reference_log_p: Sequence[np.ndarray] = []
        self.log_target: Sequence[np.ndarray] = []
        rng = random.Random(seed)
        self.retain_per_forget = retain_per_forget if self.retain else 0
        far_ones = _passes(range(len(retain)), rng)
        near_ones = _passes(range(len(retain), len(self.retain)), rng)
        share = (neighbour_share if retain else 1.0) if neighbours else 0.0
        self.forget_order: list[int] = []
        self.retain_order: list[int] = []
        for _ in range(epochs):
            epoch = _shuffled(range(len(forget)), rng)
            for start in range(0, len(epoch), BUCKET * batch_size):
                bucket = epoch[start : start + BUCKET * batch_size]
                companions = [
                    next(near_ones if share and rng.random() < share else far_ones)
                    for _ in range(len(bucket) * self.retain_per_forget)
                ]
                sizes = _step_sizes(len(self.forget_order), len(bucket), batch_size)
                filled = _shuffled(range(len(sizes)), rng)
                self.forget_order += _deal(bucket, self.forget, sizes, filled)
                retain_sizes = [size * self.retain_per_forget for size in sizes]
                self.retain_order += _deal(companions, self.retain, retain_sizes, filled)

    @property
    def has_targets(self) -> bool:
        """Whether tokens to forget have targets of their own."""
        return len(self.log_target) > 0

    def __len__(self) -> int:
        return -(-len(self.forget_order) // self.batch_size) * self.batch_size

    def __getitem__(self, position: int) -> list[Row]:
        if position >= len(self.forget_order):
            return FILLING
        index = self.forget_order[position]
        start = position * self.retain_per_forget
        companions = self.retain_order[start : start + self.retain_per_forget]
        return [
            Row(self.forget[index], FORGET, self._reference(index), self._target(index, 0)),
            *(Row(splice, FORGET, log_target=self._target(index, 1)) for splice in self._splice(position, index)),
            *(
                Row(answer, PREFERRED, self._reference(len(self.forget) + index))
                for answer in self.preferred[index : index + 1]
            ),
            *(Row(self.retain[companion], RETAIN) for companion in companions),
        ]

    def _splice(self, position: int, index: int) -> Sequence[Encoded]:
        """The one whose turn it is; none where the example has none."""
        splices = self.splices[index] if self.splices else ()
        return [splices[position // len(self.forget) % len(splices)]] if splices else ()

    def _target(self, index: int, spliced: int) -> np.ndarray:
        return self.log_target[index][spliced] if self.log_target else NOT_MEASURED

    def _reference(self, index: int) -> np.ndarray:
        return self.reference_log_p[index] if self.reference_log_p else NOT_MEASURED


def _shuffled(indices: range, rng: random.Random) -> list[int]:
    order = list(indices)
    rng.shuffle(order)
    return order


def _step_sizes(position: int, count: int, batch_size: int) -> list[int]:
    """How many of `count` examples from `position` on fall into each step."""
    ends = [*range(batch_size - position % batch_size, count, batch_size), count]
    return [end - start for start, end in pairwise([0, *ends])]


def _deal(order: list[int], examples: Sequence[Encoded], sizes: list[int], filled: list[int]) -> list[int]:
    """`order` anew: from the shortest example to the longest into steps of these sizes, `filled` one by one."""
    by_length = iter(sorted(order, key=lambda index: len(examples[index].ids)))
    steps = {step: list(islice(by_length, sizes[step])) for step in filled}
    return [index for step in range(len(sizes)) for index in steps[step]]


def _passes(indices: range, rng: random.Random) -> Iterator[int]:
    while True:
        yield from _shuffled(indices, rng)


def collate_paired(batch: Sequence[list[Row]], pad_token_id: int | None) -> dict[str, Tensor]:
    """One tensor of each kind for all rows of a batch.

    Returns:
        What `collate` returns, int64 of shape [B, T] each; `role`, int64 of shape [B]; and of each token, 0 where a
        row has none, float32 of shape [B, T], `reference_log_p` and, where any row has it, `log_target`.
    """
    rows = [row for group in batch for row in group]
    tensors = collate([row.example for row in rows], pad_token_id)
    shape = tensors["labels"].shape
    tensors["role"] = torch.tensor([row.role for row in rows])
    tensors["reference_log_p"] = _spread([row.reference_log_p for row in rows], rows, shape)
    if any(len(row.log_target) for row in rows):
        tensors["log_target"] = _spread([row.log_target for row in rows], rows, shape)
    return tensors


def _spread(values: Sequence[np.ndarray], rows: Sequence[Row], shape: torch.Size) -> Tensor:
    """Values of answer tokens at the places of these tokens."""
    spread = torch.zeros(shape)
    for place, (row, own) in enumerate(zip(rows, values, strict=True)):
        start = row.example.answer_start
        spread[place, start : start + len(own)] = torch.from_numpy(own)
    return spread
