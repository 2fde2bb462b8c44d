"""SimNPO (Fan et al. 2024, arXiv 2410.07163, eq. 4): NPO without a reference model, by length.

    L = −(2/β) · E_x [ log σ( −(β/|y|) · log π(y|x) − β·δ ) ]

The paper's margin γ is β·δ here: OpenUnlearning's names, in which its settings are published; its γ is a weight
on this term.
"""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


@dataclass(frozen=True, config=STRICT)
class SimNpo:
    """Knobs of SimNPO, as OpenUnlearning publishes them.

    Attributes:
        beta: near 0 is gradient ascent; more stops sooner once an answer's mean NLL is beyond delta.
        delta: nats per token; the mean NLL to go beyond.
        gamma: weight of the forget term.
    """

    beta: Positive = 4.5
    delta: float = 0.0
    gamma: Positive = 0.125


def simnpo_loss(answers: "Answers", knobs: SimNpo) -> "Tensor":
    """Per-example SimNPO loss, weighted with gamma, shape [E]."""
    from torch.nn.functional import logsigmoid

    nll = answers.mean_by_example(-answers.log_p)
    return -2 / knobs.beta * knobs.gamma * logsigmoid(knobs.beta * (nll - knobs.delta))
