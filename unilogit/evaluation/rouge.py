"""How much of the reference a generated text contains, and how much else: ROUGE-L, per example.

Source: Lin 2004, aclanthology.org/W04-1013; the reference implementation, rouge_score.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np


def rouge_l_recall(references: Sequence[str], generated: Sequence[str]) -> np.ndarray:
    """Longest common subsequence of words / words of the reference; words in lower case and stemmed (Porter).

    Words are runs of a-z and 0-9, so a reference in another script scores 0.

    Returns:
        float64 of shape (examples,), in [0, 1].
    """
    return _rouge_l(references, generated, stem=True, figure="recall")


def rouge_l_f1(references: Sequence[str], generated: Sequence[str], *, stem: bool = True) -> np.ndarray:
    """Harmonic mean of `rouge_l_recall` and the same over the words generated.

    Args:
        stem: whether words are stemmed; OpenUnlearning does, the code published with MUSE does not.

    Returns:
        float64 of shape (examples,), in [0, 1].
    """
    return _rouge_l(references, generated, stem=stem, figure="fmeasure")


def _rouge_l(
    references: Sequence[str], generated: Sequence[str], *, stem: bool, figure: Literal["recall", "fmeasure"]
) -> np.ndarray:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=stem)
    scores = [scorer.score(reference, text)["rougeL"] for reference, text in zip(references, generated, strict=True)]
    return np.array([getattr(score, figure) for score in scores], dtype=np.float64)
