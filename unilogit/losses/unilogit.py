"""Unilogit (Vasilev et al., Findings of ACL 2025, arXiv 2505.06027), as a scalar function of p; and for any target.

The paper's target. On a forget token with target t, take the current logits z, detached, and replace
z_t by logsumexp(z_{i≠t}) − log(V − 1); the softmax q of that gives t exactly 1/V and shares the rest
among the other tokens in proportion to their current probabilities. The loss is KL(p ‖ q) (reverse,
the paper's choice) or KL(q ‖ p) (forward), with q a constant.

The identity. Write p = p_t. For i ≠ t, q_i = p_i·(1 − 1/V)/(1 − p), so log(p_i/q_i) is the same
number for all of them, log((1 − p)/(1 − 1/V)), and

    KL(p ‖ q) = p·(log p + log V) + (1 − p)·(log(1 − p) − log(1 − 1/V)).

Its gradient with q held constant is Σ_i dp_i·(log(p_i/q_i) + 1) = dp·(log(p·V) − log((1 − p)/(1 − 1/V))),
because Σ_i dp_i = 0; differentiating the right-hand side in p gives the same, the two ±1 cancelling.
Likewise d KL(q ‖ p) = −Σ_i q_i·dlog p_i. The tokens i ≠ t contribute −(1 − 1/V)·Σ (p_i/(1 − p))·dlog p_i
= −(1 − 1/V)·d(1 − p)/(1 − p), so

    KL(q ‖ p) = −(1/V)·log p − (1 − 1/V)·log(1 − p) + constant, in value and in gradient,

with constant −(1/V)·log V + (1 − 1/V)·log(1 − 1/V). So the loss needs log p and log(1 − p) of each
target and nothing else of the vocabulary.

A target of each token's own. Replace z_t by z*_t = logsumexp(z_{i≠t}) + log τ − log(1 − τ), and q gives t
exactly τ; 1/V is the paper's. The KLs are as above with τ for 1/V, but near τ, and on a token that is all but
certain, they hardly pull (d KL(p ‖ q)/dz_t is p·(1 − p) times the distance of the log-odds), so that a run ends
on the way. The distance itself, z_t − z*_t = log p − log(1 − p) − (log τ − log(1 − τ)), pulls alike wherever a
token is; so with targets the loss is its Huber function (Huber 1964): x²/2δ for |x| < δ, else |x| − δ/2.
"""

import math
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers

DELTA = 1.0  # of Huber's function, in log-odds


@dataclass(frozen=True, config=STRICT)
class Unilogit:
    """Knobs of Unilogit, as published.

    Attributes:
        direction: "reverse" is KL(p ‖ q), "forward" KL(q ‖ p).
    """

    direction: Literal["reverse", "forward"] = "reverse"


def unilogit_loss(answers: "Answers", knobs: Unilogit) -> "Tensor":
    """Per-token Unilogit loss.

    Args:
        answers: their log p and log(1 − p), each [N]; V, or the log of each token's own target, [N].
        knobs: the direction of the KL; not of the distance to targets of their own.

    Returns:
        [N], the dtype of `answers.log_p`; zero where p = 1/V, or the target.
    """
    if answers.has_targets:
        return _distance(answers)
    share = 1 / answers.vocabulary
    uniform, rest = math.log(share), math.log1p(-share)
    above_uniform, below_rest = answers.log_p - uniform, answers.log_complement - rest
    if knobs.direction == "reverse":
        return answers.log_p.exp() * above_uniform + answers.log_complement.exp() * below_rest
    return -share * above_uniform - (1 - share) * below_rest


def _distance(answers: "Answers") -> "Tensor":
    """Huber's function of the log-odds beyond those of the target."""
    from torch.nn.functional import huber_loss

    log_target = answers.log_target.to(answers.log_p.dtype)
    target_odds = log_target - (-log_target.expm1()).log()
    distance = answers.log_p - answers.log_complement - target_odds
    return huber_loss(distance, distance.new_zeros(distance.shape), reduction="none", delta=DELTA) / DELTA
