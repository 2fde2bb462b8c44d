"""SatImp (Yang et al., ICML 2025, arXiv 2505.11953, section 5): tokens weighted by saturation and importance.

    L = E [ p^β₁ · (1 − p)^β₂ · log p ],   the weight a constant

Saturation, p^β₁, leaves alone what is already unlikely; importance, (1 − p)^β₂, what everybody would say.
Published beside a retain term of weight 0.1.
"""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, NonNegative

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


@dataclass(frozen=True, config=STRICT)
class SatImp:
    """Knobs of SatImp, as published.

    Attributes:
        beta1: more leaves unlikely tokens alone.
        beta2: more leaves likely tokens alone.
    """

    beta1: NonNegative = 5.0
    beta2: NonNegative = 1.0


def satimp_loss(answers: "Answers", knobs: SatImp) -> "Tensor":
    """Per-token SatImp loss, shape [N]."""
    weight = (knobs.beta1 * answers.log_p + knobs.beta2 * answers.log_complement).detach().exp()
    return weight * answers.log_p
