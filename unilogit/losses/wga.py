"""WGA, weighted gradient ascent (Wang et al., ICLR 2025, arXiv 2502.19301, section 4).

    L = E [ p^β · log p ],   p^β a constant

for each token: gradient ascent that leaves alone what is already unlikely. Published β: 1 (α in the paper).
"""

from torch import Tensor

from unilogit.losses.answers import Answers


def wga_loss(answers: Answers, beta: float) -> Tensor:
    """Per-token WGA loss, shape [N]."""
    return (beta * answers.log_p.detach()).exp() * answers.log_p
