"""UnDIAL (Dong et al., NAACL 2025, arXiv 2402.10052, section 3): self-distillation from adjusted logits.

    L = E [ H(q, p) ],   q = softmax( z_ref − β · onehot(t) )

for each token t, with z_ref the logits of the model before unlearning. Published: β = 10, no retain term.
"""

import torch
from torch import Tensor

from unilogit.losses.answers import Answers


def undial_loss(answers: Answers, beta: float) -> Tensor:
    """Per-token UnDIAL loss of rows of logits, shape [n]."""
    lowered = answers.reference_logits.scatter_add(
        1, answers.target[:, None], answers.reference_logits.new_full((len(answers.target), 1), -beta)
    )
    return -(lowered.softmax(dim=1) * torch.log_softmax(answers.logits, dim=1)).sum(dim=1)
