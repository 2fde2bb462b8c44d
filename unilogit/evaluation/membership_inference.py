"""Can an attacker tell people of the forget set from people whom the model never saw?

The LOSS attack: what the model finds likelier was in its training data. Source: Yeom et al. 2018,
arxiv.org/abs/1709.01604.
"""

import numpy as np


def loss_auc(member_nll: np.ndarray, non_member_nll: np.ndarray) -> float:
    """How often a member has the lower NLL of a random pair, a tie counting half (area under the ROC curve).

    Args:
        member_nll, non_member_nll: per answer token, finite, at least one each: forget set and holdout.

    Returns:
        0.5: the attacker guesses; 1: members are always likelier.
    """
    from sklearn.metrics import roc_auc_score

    is_member = np.r_[np.ones(len(member_nll)), np.zeros(len(non_member_nll))]
    return float(roc_auc_score(is_member, -np.r_[member_nll, non_member_nll]))
