"""Log-probability of each target token from hidden states and head: the plain PyTorch version.

Every faster version is tested against this one. Knows nothing of losses.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class TargetLogProb(NamedTuple):
    """What a scalar loss of the target's probability p needs.

    Attributes:
        log_p: log p, shape [N], at least float32.
        log_complement: log(1 − p), shape [N], accurate for p → 1 too.
    """

    log_p: Tensor
    log_complement: Tensor


def target_log_prob_from_logits(logits: Tensor, target: Tensor) -> TargetLogProb:
    """log p and log(1 − p) of each row's target.

    log(1 − p) comes from the logsumexp of the *other* logits: log1p(−exp(log p)) loses every digit
    as p → 1, which is where a memorised token stands.

    Args:
        logits: [N, V], any floating dtype, V ≥ 2; computed in float32 or wider.
        target: [N], int64 in [0, V).
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    target_logit = logits.gather(1, target[:, None]).squeeze(1)
    others = logits.scatter(1, target[:, None], float("-inf")).logsumexp(dim=1)
    normaliser = torch.logaddexp(others, target_logit)
    return TargetLogProb(target_logit - normaliser, others - normaliser)


def target_log_prob(
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    softcap: float | None = None,
    logit_scale: float | None = None,
) -> TargetLogProb:
    """log p and log(1 − p) of each target under the language-model head.

    Args:
        hidden: [N, H], the hidden state that predicts each target.
        weight: [V, H], the head.
        target: [N], int64.
        bias: [V] or None.
        softcap: logits become softcap·tanh(logits / softcap) (Gemma 2), or None.
        logit_scale: logits are multiplied by it before the softcap (Cohere, Granite), or None.
    """
    logits = torch.nn.functional.linear(hidden, weight, bias)
    if logit_scale is not None:
        logits = logit_scale * logits
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return target_log_prob_from_logits(logits, target)
