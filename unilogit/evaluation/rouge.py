"""How much of the reference a generated text contains: ROUGE-L recall, per example.

Source: Lin 2004, aclanthology.org/W04-1013; the reference implementation, rouge_score.
"""

from collections.abc import Sequence

import numpy as np


def rouge_l_recall(references: Sequence[str], generated: Sequence[str]) -> np.ndarray:
    """Longest common subsequence of words / words of the reference; words in lower case and stemmed (Porter).

    Words are runs of a-z and 0-9, so a reference in another script scores 0.

    Returns:
        float64 of shape (examples,), in [0, 1].
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    return np.array(
        [scorer.score(reference, text)["rougeL"].recall for reference, text in zip(references, generated, strict=True)],
        dtype=np.float64,
    )
