"""Which tokens of a batch are answers, and whose. Knows nothing of models' weights or of losses."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unilogit.data.tokenisation import IGNORED
from unilogit.losses.answers import ABSENT
from unilogit.model import Features


@dataclass(frozen=True)
class AnswerTokens:
    """The answer tokens of a batch of B sequences of T tokens each: N of them, sequence by sequence.

    Attributes:
        target: [N] int64, the tokens.
        position: [N] int64 in [0, B·T), where each token is scored: at the one before it.
        sequence: [N] int64 in [0, B), non-decreasing: the sequence that each token is of.
        role: [N] int64, the role of that sequence.
        example: [N] int64, its number among the sequences of that role.
        examples: how many sequences there are of each role.
        reference_log_p: [N], log p of each token under the model before unlearning; ABSENT where not given.
        log_target: [N], log of the probability that each token of a forget answer is driven to; ABSENT likewise.
    """

    target: Tensor
    position: Tensor
    sequence: Tensor
    role: Tensor
    example: Tensor
    examples: Mapping[int, int]
    reference_log_p: Tensor = ABSENT
    log_target: Tensor = ABSENT

    @classmethod
    def from_batch(
        cls,
        labels: Tensor,
        role: Tensor,
        reference_log_p: Tensor | None = None,
        log_target: Tensor | None = None,
    ) -> "AnswerTokens":
        """Find them.

        Args:
            labels: [B, T] int64, the tokens of answers and IGNORED elsewhere.
            role: [B] int64, of each sequence.
            reference_log_p, log_target: [B, T], of the tokens of answers.
        """
        sequence, place = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)
        number = (role[:, None] == role).tril(diagonal=-1).sum(dim=1)
        return cls(
            target=labels[sequence, place + 1],
            position=sequence * labels.shape[1] + place,
            sequence=sequence,
            role=role[sequence],
            example=number[sequence],
            examples=Counter(role.tolist()),
            reference_log_p=ABSENT if reference_log_p is None else reference_log_p[sequence, place + 1],
            log_target=ABSENT if log_target is None else log_target[sequence, place + 1],
        )

    def of_roles(self, *roles: int) -> Tensor:
        """[n] int64, which of the N tokens are of one of the roles."""
        return torch.isin(self.role, self.role.new_tensor(roles)).nonzero().squeeze(1)

    def take(self, chosen: Tensor) -> "AnswerTokens":
        """Those tokens alone."""
        return AnswerTokens(
            target=self.target[chosen],
            position=self.position[chosen],
            sequence=self.sequence[chosen],
            role=self.role[chosen],
            example=self.example[chosen],
            examples=self.examples,
            reference_log_p=ABSENT if self.reference_log_p is ABSENT else self.reference_log_p[chosen],
            log_target=ABSENT if self.log_target is ABSENT else self.log_target[chosen],
        )

    def select(self, features: Features) -> Features:
        """Of what a model makes of the batch, what belongs to these tokens: rows [N, F] and hidden [N, H]."""
        hidden = None if features.hidden is None else features.hidden.flatten(0, 1)[self.position + 1]
        return Features(features.rows.flatten(0, 1)[self.position], hidden)
