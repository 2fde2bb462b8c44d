"""Gradient ascent (Jang et al., ACL 2023, arXiv 2210.01504): maximise the forget set's loss, nothing else."""

from torch import Tensor

from unilogit.kernels.reference import TargetLogProb


def gradient_ascent_loss(target: TargetLogProb) -> Tensor:
    """Per-token log p, shape [N]: minimising it lowers the target's likelihood without bound."""
    return target.log_p
