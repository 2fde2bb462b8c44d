"""SimNPO (Fan et al. 2024, arXiv 2410.07163, eq. 4): NPO without a reference model, by length.

    L = −(2/β) · E_x [ log σ( −(β/|y|) · log π(y|x) − β·δ ) ]

The paper's margin γ is β·δ here: OpenUnlearning's names, in which its settings are published: β = 4.5, δ = 0
and a weight of γ = 0.125 on this term.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from unilogit.losses.answers import Answers


def simnpo_loss(answers: Answers, beta: float, delta: float, gamma: float) -> Tensor:
    """Per-example SimNPO loss, weighted with gamma, shape [E]."""
    nll = answers.mean_of_each(-answers.log_p)
    return -2 / beta * gamma * logsigmoid(beta * (nll - delta))
