"""PDU, primal-dual unlearning (Entesari et al., NeurIPS 2025, arXiv 2506.05314): flat logits, limited retain loss.

    min_θ E_x [ 1/|y| · Σ_t ( max_k z_k − 1/V · Σ_k z_k )² ]   subject to   L_retain ≤ ε

The multiplier of the constraint is the weight of the retain term, and follows it: λ ← max(0, λ + η · (L_retain − ε))
after each step (unilogit/training/dual_ascent.py).
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, NonNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


@dataclass(frozen=True, config=STRICT)
class Pdu:
    """How the weight of the retain term is steered, as published for TOFU, from 100 on (unlearn.retain_weight).

    Attributes:
        retain_limit: ε, nats where the retain term is the NLL: what it may be at the most.
        dual_rate: η, how fast the weight follows; 0 leaves it as it is.
        warmup: share of the run's steps before it follows.
    """

    retain_limit: Positive = 0.3
    dual_rate: NonNegative = 5.0
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.5


def pdu_loss(answers: "Answers") -> "Tensor":
    """Per-token squared margin of the highest logit over their mean, shape [n]; zero where all are alike."""
    return (answers.logits.amax(dim=1) - answers.logits.mean(dim=1)).square()
