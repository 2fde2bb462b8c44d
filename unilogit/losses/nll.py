"""Negative log-likelihood of the answers: the retain term of GradDiff and most methods after it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


def nll_loss(answers: "Answers") -> "Tensor":
    """Per-token −log p, shape [N]."""
    return -answers.log_p
