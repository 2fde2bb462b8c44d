"""UnDIAL (Dong et al., NAACL 2025, arXiv 2402.10052, section 3): self-distillation from adjusted logits.

    L = E [ H(q, p) ],   q = softmax( z_ref − β · onehot(t) )

for each token t, with z_ref the logits of the model before unlearning. Published without a retain term.
"""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


@dataclass(frozen=True, config=STRICT)
class Undial:
    """Knobs of UnDIAL, as published.

    Attributes:
        beta: how far the target's logit is lowered.
    """

    beta: Positive = 10.0


def undial_loss(answers: "Answers", knobs: Undial) -> "Tensor":
    """Per-token UnDIAL loss of rows of logits, shape [n]."""
    target, before = answers.target[:, None], answers.reference_logits
    lowered = before.scatter_add(1, target, before.new_full(target.shape, -knobs.beta))
    return -(lowered.softmax(dim=1) * answers.logits.log_softmax(dim=1)).sum(dim=1)
