"""What the losses see of a batch's answers. Knows nothing of models or of how the scores were made."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

ABSENT = torch.empty(0)


@dataclass(frozen=True)
class Answers:
    """The answer tokens of some examples, N tokens of E examples; end-of-sequence is one of them.

    Each loss declares in the registry what it needs; whatever else there is may be ABSENT. Everything of the
    reference model is without gradient.

    Attributes:
        log_p, log_complement: [N], log p and log(1 − p) of each token.
        reference_log_p: [N], log p under the reference model.
        log_target: [N], log of the probability that each token is driven to, below 0.
        example: [N] int64 in [0, E), the example that each token belongs to.
        examples: E.
        target: [N] int64, the tokens.
        vocabulary: V, the number of tokens that the model scores; at least 2.
        logits, reference_logits: [n, V], where the loss is given n of the tokens at a time.
        hidden, reference_hidden: [N, H], what a layer makes of each token.
        preferred: the answers that would be better, one for each example in the same order.
    """

    log_p: Tensor = ABSENT
    log_complement: Tensor = ABSENT
    reference_log_p: Tensor = ABSENT
    log_target: Tensor = ABSENT
    example: Tensor = ABSENT
    examples: int = 0
    target: Tensor = ABSENT
    vocabulary: int = 0
    logits: Tensor = ABSENT
    reference_logits: Tensor = ABSENT
    hidden: Tensor = ABSENT
    reference_hidden: Tensor = ABSENT
    preferred: "Answers | None" = None

    @property
    def has_targets(self) -> bool:
        """Whether each token is driven to a probability of its own."""
        return self.log_target is not ABSENT

    def take(self, chosen: Tensor, examples: int) -> "Answers":
        """Those tokens alone ([N] bool), of that many examples."""
        columns: dict[str, Any] = {
            name: column[chosen]
            for name, column in vars(self).items()
            if isinstance(column, Tensor) and column is not ABSENT
        }
        return replace(self, examples=examples, **columns)

    def sum_by_example(self, values: Tensor) -> Tensor:
        """The sum of `values` ([N]) over each example's tokens: [E]."""
        return values.new_zeros(self.examples).index_add(0, self.example, values)

    def mean_by_example(self, values: Tensor) -> Tensor:
        """The mean of `values` ([N]) over each example's tokens: [E]."""
        return self.sum_by_example(values) / self.sum_by_example(torch.ones_like(values))

    def log_ratio(self) -> Tensor:
        """log π(y|x) − log π_ref(y|x) of each whole answer: [E]."""
        return self.sum_by_example(self.log_p - self.reference_log_p)
