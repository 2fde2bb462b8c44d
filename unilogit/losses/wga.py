"""WGA, weighted gradient ascent (Wang et al., ICLR 2025, arXiv 2502.19301, section 4).

    L = E [ p^β · log p ],   p^β a constant

for each token: gradient ascent that leaves alone what is already unlikely.
"""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, NonNegative

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


@dataclass(frozen=True, config=STRICT)
class Wga:
    """Knobs of WGA, as published.

    Attributes:
        beta: α in the paper; more leaves unlikely tokens alone, 0 is gradient ascent.
    """

    beta: NonNegative = 1.0


def wga_loss(answers: "Answers", knobs: Wga) -> "Tensor":
    """Per-token WGA loss, shape [N]."""
    return (knobs.beta * answers.log_p.detach()).exp() * answers.log_p
