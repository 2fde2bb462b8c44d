"""SatImp (Yang et al., ICML 2025, arXiv 2505.11953, section 5): tokens weighted by saturation and importance.

    L = E [ p^β₁ · (1 − p)^β₂ · log p ],   the weight a constant

Saturation, p^β₁, leaves alone what is already unlikely; importance, (1 − p)^β₂, what everybody would say.
Published: β₁ = 5, β₂ = 1, beside a retain term of weight 0.1.
"""

from torch import Tensor

from unilogit.losses.answers import Answers


def satimp_loss(answers: Answers, beta1: float, beta2: float) -> Tensor:
    """Per-token SatImp loss, shape [N]."""
    weight = (beta1 * answers.log_p + beta2 * answers.log_complement).detach().exp()
    return weight * answers.log_p
