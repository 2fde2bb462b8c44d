"""CE-U, cross-entropy unlearning (Yang 2025, arXiv 2503.01224), as a scalar function of p.

The paper's target q is the model's own distribution with the target's logit set to −∞, held constant; the loss
is the cross-entropy H(q, p). As q_i = p_i / (1 − p) for the other tokens and 0 for the target,

    H(q, p) = H(q) + KL(q ‖ p) = H(q) − log(1 − p),

and H(q) is a constant. So −log(1 − p) has the paper's gradient, and nothing else of the vocabulary is needed.
The paper's trick of leaving each answer's first token out is not applied here.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


def ceu_loss(answers: "Answers") -> "Tensor":
    """Per-token CE-U loss less the entropy of its target, shape [N]; zero where p = 0."""
    return -answers.log_complement
