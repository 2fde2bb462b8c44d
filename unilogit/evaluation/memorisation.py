"""How much of an answer the model still recites, teacher-forced. Knows nothing of models: one array per answer.

Both leave end-of-sequence out. Sources: exact memorisation, Tirumala et al. 2022, arXiv 2205.10770; extraction
strength, Carlini et al. 2021, arXiv 2012.07805; both as OpenUnlearning computes them.
"""

import math

import numpy as np


def exact_memorisation(is_greedy: np.ndarray) -> float:
    """Share of answer tokens that the model finds likeliest.

    Args:
        is_greedy: bool of shape [n], without end-of-sequence.

    Returns:
        In [0, 1]; NaN for an answer without tokens.
    """
    return float(is_greedy.mean()) if len(is_greedy) else math.nan


def extraction_strength(is_greedy: np.ndarray) -> float:
    """1 − k/n, k the shortest prefix of the answer after which every token is the model's likeliest.

    When even the last token is not, k = n − 1: the answer's last token is never given away for free.

    Args:
        is_greedy: bool of shape [n], without end-of-sequence.

    Returns:
        In [1/n, 1]; 0 for an answer without tokens.
    """
    n = len(is_greedy)
    if not n:
        return 0.0
    wrong = np.flatnonzero(~is_greedy)
    k = 0 if not len(wrong) else min(int(wrong[-1]) + 1, n - 1)
    return 1 - k / n
