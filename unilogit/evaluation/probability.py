"""How likely a model finds given answers: teacher-forced negative log-likelihood per example.

Knows nothing of records or sets.
Source of both probabilities: TOFU, Maini et al. 2024, arxiv.org/abs/2401.06121.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.tokenisation import Encoded
from unilogit.evaluation.token_scores import score_tokens
from unilogit.model import Scorer


def score_answers(
    model: PreTrainedModel | Scorer,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    names: Sequence[str] | None = None,
    progress: str | None = None,
    windows: Sequence[list[Encoded]] | None = None,
) -> pd.DataFrame:
    """Score each whole answer, end-of-sequence included, after its prompt.

    Args:
        model, batch_tokens, max_length, names, windows: as in `score_tokens`.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        A row for each pair, in order: sum_nll and nll (per answer token; nats, float64), n_tokens (int64)
        and probability = exp(-nll).

    Raises:
        InputError: as `score_tokens`.
    """
    scores = score_tokens(
        model,
        tokenizer,
        prompts,
        answers,
        batch_tokens=batch_tokens,
        max_length=max_length,
        names=names,
        progress=progress,
        windows=windows,
    )
    sum_nll = np.array([-answer.log_p.sum() for answer in scores], dtype=np.float64)
    n_tokens = np.array([len(answer.log_p) for answer in scores], dtype=np.int64)
    nll = sum_nll / n_tokens
    return pd.DataFrame({"sum_nll": sum_nll, "n_tokens": n_tokens, "nll": nll, "probability": np.exp(-nll)})


def normalized_probability(correct: float, wrong: Sequence[float]) -> float:
    """p(correct) / (p(correct) + sum of p(wrong) + 1e-10): the share of the right answer among those offered.

    NaN where there are no wrong answers.
    """
    return correct / (correct + sum(wrong) + 1e-10) if wrong else float("nan")
