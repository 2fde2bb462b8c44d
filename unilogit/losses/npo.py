"""NPO, negative preference optimisation (Zhang et al., COLM 2024, arXiv 2404.05868, eq. 3).

    L = −(2/β) · E_x [ log σ( −β · log( π(y|x) / π_ref(y|x) ) ) ]

over whole answers y, with π_ref the model before unlearning. β → 0 is gradient ascent; a larger β lets an
answer's pull fade sooner, once it is less likely than it was.
"""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


@dataclass(frozen=True, config=STRICT)
class Npo:
    """Knobs of NPO, as published.

    Attributes:
        beta: near 0 is gradient ascent; more stops sooner once an answer is less likely than it was.
    """

    beta: Positive = 0.1


def npo_loss(answers: "Answers", knobs: Npo) -> "Tensor":
    """Per-example NPO loss, shape [E]; 2·log(2)/beta where the model is the reference."""
    from torch.nn.functional import logsigmoid

    return -2 / knobs.beta * logsigmoid(-knobs.beta * answers.log_ratio())
