"""Log-probability of each target token from hidden states and head: the plain PyTorch version.

Every faster version is tested against this one. Knows nothing of losses.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unilogit.kernels.spec import LINEAR, HeadSpec


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
    complement = logits.scatter(1, target[:, None], float("-inf")).logsumexp(dim=1)
    normaliser = torch.logaddexp(complement, target_logit)
    return TargetLogProb(target_logit - normaliser, complement - normaliser)


def head_logits(hidden: Tensor, weight: Tensor, spec: HeadSpec = LINEAR) -> Tensor:
    """The logits of a head, in the graph.

    Args:
        hidden: [..., H].
        weight: [V, H].
        spec: its bias, softcap and scale.

    Returns:
        [..., V], the dtype of hidden, or that of autocast.
    """
    logits = torch.nn.functional.linear(hidden, weight, spec.bias)
    if spec.logit_scale is not None:
        logits = spec.logit_scale * logits
    return logits if spec.softcap is None else spec.softcap * torch.tanh(logits / spec.softcap)


def target_log_prob(hidden: Tensor, weight: Tensor, target: Tensor, spec: HeadSpec = LINEAR) -> TargetLogProb:
    """log p and log(1 − p) of each target under the language-model head.

    Args:
        hidden: [N, H], the hidden state that predicts each target.
        weight: [V, H], the head.
        target: [N], int64.
        spec: the head's bias, softcap and scale.
    """
    return target_log_prob_from_logits(head_logits(hidden, weight, spec), target)
