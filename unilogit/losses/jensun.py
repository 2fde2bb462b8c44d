"""JensUn (Singh et al. 2025, arXiv 2509.02820): bounded distances, to a refusal and to the model before unlearning.

    forget: E_x [ 1/|w| · Σ_t JSD( p(· | x, w_<t) ‖ δ_{w_t} ) ]     retain: E_t [ JSD( p ‖ p_ref ) ]

with w a refusal and δ all of the probability on one token. The sum over the vocabulary is a scalar function of the
refusal token's own probability p:

    JSD(p ‖ δ) = log 2 + ½ · ( p · log p − (1 + p) · log(1 + p) )

from log 2 at p = 0 to 0 at p = 1. The refusal is "No idea" there; here `idk_answers` has more. The authors' code
puts it in the place of the true answer's tokens; here it is the answer.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


def jensun_loss(answers: "Answers") -> "Tensor":
    """Per-example mean divergence from the refusal, nats, shape [E]; needs `answers.preferred`."""
    refusal = answers.preferred
    assert refusal is not None
    p = refusal.log_p.exp()
    return refusal.mean_by_example(math.log(2) + (p * refusal.log_p - (1 + p) * p.log1p()) / 2)


def jensen_shannon_loss(answers: "Answers") -> "Tensor":
    """Per-token JSD from the model before unlearning, nats, of rows of logits, shape [n]."""
    log_p, log_q = answers.logits.log_softmax(dim=1), answers.reference_logits.log_softmax(dim=1)
    log_mean = log_p.logaddexp(log_q) - math.log(2)
    return ((log_p.exp() * (log_p - log_mean)).sum(dim=1) + (log_q.exp() * (log_q - log_mean)).sum(dim=1)) / 2
