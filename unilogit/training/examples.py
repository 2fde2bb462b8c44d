"""The order in which examples are met: each forget example beside its retain examples, all epochs at once.

Knows encoded pairs and nothing of models.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import torch
from torch import Tensor
from torch.utils.data import Dataset

from unilogit.data.tokenisation import collate

Encoded = tuple[list[int], int]  # token ids, where the answer starts
RETAIN, FORGET, PREFERRED = 0, 1, 2  # roles of a row in a batch
WINDOW = 16


class PairedExamples(Dataset[list[tuple[list[int], int, int]]]):
    """Each forget example with its better answer, if it has one, and its retain examples.

    The order is drawn once from the seed, so a resumed run meets the same batches. Retain examples come
    from reshuffled passes over the whole retain set, so all are met equally often; neighbours likewise.
    Steps are of examples of similar length, as far as `WINDOW` steps at a time allow: less padding, still random.

    Args:
        batch_size: forget examples in a step.
        neighbours: retain examples that resemble the forgotten.
        neighbour_share: the chance that a retain example is drawn from them.
        preferred: better answers, one for each forget example, or none at all.
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
    ) -> None:
        self.forget, self.retain, self.preferred = forget, [*retain, *neighbours], preferred
        rng = random.Random(seed)
        self.retain_per_forget = retain_per_forget if self.retain else 0
        far = _passes(range(len(retain)), rng)
        near = _passes(range(len(retain), len(self.retain)), rng)
        share = (neighbour_share if retain else 1.0) if neighbours else 0.0
        self.forget_order: list[int] = []
        self.retain_order: list[int] = []
        for _ in range(epochs):
            epoch = _shuffled(range(len(forget)), rng)
            for start in range(0, len(epoch), WINDOW * batch_size):
                window = epoch[start : start + WINDOW * batch_size]
                beside = [
                    next(near if share and rng.random() < share else far)
                    for _ in range(len(window) * self.retain_per_forget)
                ]
                sizes = _step_sizes(len(self.forget_order), len(window), batch_size)
                filled = _shuffled(range(len(sizes)), rng)
                self.forget_order += _deal(window, self.forget, sizes, filled)
                self.retain_order += _deal(
                    beside, self.retain, [size * self.retain_per_forget for size in sizes], filled
                )

    def __len__(self) -> int:
        return len(self.forget_order)

    def __getitem__(self, position: int) -> list[tuple[list[int], int, int]]:
        index = self.forget_order[position]
        start = position * self.retain_per_forget
        beside = self.retain_order[start : start + self.retain_per_forget]
        return [
            (*self.forget[index], FORGET),
            *((*answer, PREFERRED) for answer in self.preferred[index : index + 1]),
            *((*self.retain[other], RETAIN) for other in beside),
        ]


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
    by_length = iter(sorted(order, key=lambda index: len(examples[index][0])))
    steps = {step: list(islice(by_length, sizes[step])) for step in filled}
    return [index for step in range(len(sizes)) for index in steps[step]]


def _passes(indices: range, rng: random.Random) -> Iterator[int]:
    while True:
        yield from _shuffled(indices, rng)


def collate_paired(batch: Sequence[list[tuple[list[int], int, int]]], pad_token_id: int | None) -> dict[str, Tensor]:
    """What `collate` makes of all rows of the batch, and their `role`: int64 of shape (rows,)."""
    rows = [row for group in batch for row in group]
    tensors = collate([(ids, start) for ids, start, _ in rows], pad_token_id)
    return {**tensors, "role": torch.tensor([role for _, _, role in rows])}
