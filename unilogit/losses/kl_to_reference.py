"""KL from the model before unlearning, KL(p_ref ‖ p), for each token: keeps retain answers as they were.

Source: the retain term of TOFU's KL minimisation (Maini et al. 2024, arXiv 2401.06121, section 4).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


def kl_to_reference_loss(answers: "Answers") -> "Tensor":
    """Per-token KL(p_ref ‖ p) of rows of logits, shape [n]; zero where the model is the reference."""
    log_reference = answers.reference_logits.log_softmax(dim=1)
    return (log_reference.exp() * (log_reference - answers.logits.log_softmax(dim=1))).sum(dim=1)
