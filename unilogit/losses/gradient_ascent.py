"""Gradient ascent (Jang et al., ACL 2023, arXiv 2210.01504, eq. 1): maximise the forget set's loss, nothing else.

GradDiff (gradient difference, Liu et al. 2022, arXiv 2203.12817; so named in TOFU, Maini et al. 2024,
arXiv 2401.06121) is the same forget term beside the NLL of the retain set. With the KL to the parent model on
the retain set in place of the NLL, it is TOFU's KL minimisation.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


def gradient_ascent_loss(answers: "Answers") -> "Tensor":
    """Per-token log p, shape [N]: minimising it lowers the target's likelihood without bound."""
    return answers.log_p
