"""Targets by rank: each token is driven to where one of unseen people's stands at the same share of the way.

Knows numbers alone.
"""

import numpy as np

TokenValues = list[np.ndarray]  # of each answer, a float for each of its tokens

SURELY_KNOWN = 0.95  # the share of unseen people's answers that a known one is likelier than
SUREST = -1e-4  # log of the highest probability that a token is driven to: log-odds stay finite


def find_known(own: TokenValues, unseen: TokenValues) -> np.ndarray:
    """Of each answer, whether it is likelier than nearly all of unseen people's, bool; all are where none is.

    Args:
        own, unseen: log p of the tokens of answers by the model, of the forgotten and of unseen people.
    """
    means = np.array([values.mean() for values in own])
    known = means > np.quantile([values.mean() for values in unseen], SURELY_KNOWN)
    return known if known.any() else np.ones(len(own), dtype=bool)


def choose(answers: TokenValues, chosen: np.ndarray) -> TokenValues:
    """Those answers, by a bool for each."""
    return [answers[place] for place in np.flatnonzero(chosen)]


def rank_apart(estimates: TokenValues, known: np.ndarray, unseen: np.ndarray) -> TokenValues:
    """What tokens are driven to, the answers that are known apart from the others.

    Args:
        estimates: what a source makes of them: their order.
        known: of each answer, as `find_known` says.
        unseen: log p of all tokens of unseen people's answers: what they are driven to.

    Returns:
        log p of each token, float32.
    """
    ranked = list(estimates)
    for group in (known, ~known):
        if group.any():
            for place, targets in zip(np.flatnonzero(group), by_rank(choose(estimates, group), unseen), strict=True):
                ranked[place] = targets
    return ranked


def by_rank(estimates: TokenValues, unseen: np.ndarray) -> TokenValues:
    """Each value's place among all of them → what stands there among unseen people's."""
    together = np.concatenate(estimates)
    share = np.empty(len(together))
    share[np.argsort(together, kind="stable")] = (np.arange(len(together)) + 0.5) / len(together)
    targets = np.minimum(np.quantile(unseen, share), SUREST).astype(np.float32)
    return np.split(targets, np.cumsum([len(values) for values in estimates])[:-1])
