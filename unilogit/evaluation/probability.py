"""How likely a model finds given answers: teacher-forced negative log-likelihood per example.

Knows nothing of records or sets.
Source of both probabilities: TOFU, Maini et al. 2024, arxiv.org/abs/2401.06121.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from unilogit.evaluation.token_scores import score_tokens


def score_answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    answers: Sequence[str],
    batch_size: int,
    *,
    progress: str | None = None,
) -> pd.DataFrame:
    """Score each answer, end-of-sequence included, after its prompt.

    Args:
        model: as in `score_tokens`.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        A row for each pair, in order: sum_nll and nll (per answer token; nats, float64), n_tokens (int64)
        and probability = exp(-nll).

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    scores = score_tokens(model, tokenizer, prompts, answers, batch_size, progress=progress)
    sum_nll = np.array([-answer.log_p.sum() for answer in scores], dtype=np.float64)
    n_tokens = np.array([len(answer.log_p) for answer in scores], dtype=np.int64)
    nll = sum_nll / n_tokens
    return pd.DataFrame({"sum_nll": sum_nll, "n_tokens": n_tokens, "nll": nll, "probability": np.exp(-nll)})


def normalized_probability(correct: float, wrong: Sequence[float]) -> float:
    """p(correct) / (p(correct) + sum of p(wrong) + 1e-10): the share of the right answer among those offered.

    NaN where there are no wrong answers.
    """
    return correct / (correct + sum(wrong) + 1e-10) if wrong else float("nan")
