"""How far the unlearned model's next-token distributions are from the golden target's: what Unilogit aims at.

Source: Vasilev et al. 2025, arXiv 2505.06027. Knows nothing of records or sets.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unilogit.data.tokenisation import collate, encode_pair
from unilogit.errors import InputError
from unilogit.evaluation.token_scores import answer_rows, inference, longest_first, rows_at_once
from unilogit.scorer import Scorer


def golden_divergence(
    model: Any,
    golden: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    answers: Sequence[str],
    batch_size: int,
    *,
    progress: str | None = None,
) -> pd.DataFrame:
    """KL divergence at each answer's tokens, end-of-sequence included, teacher-forced; in nats.

    Args:
        model, golden: models of one tokenizer; golden is the retain model.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        A row for each pair, in order: kl_golden_to_model = Σ KL(golden ‖ model) and kl_model_to_golden, its
        reverse, over the n_tokens tokens of the answer.

    Raises:
        InputError: the models score different vocabularies.
    """
    pairs = [encode_pair(tokenizer, *pair) for pair in zip(prompts, answers, strict=True)]
    n_tokens = [len(ids) - start for ids, start in pairs]
    sums = np.zeros((len(pairs), 2))
    with inference(model), inference(golden):
        scorers = Scorer(model), Scorer(golden)
        if scorers[0].vocabulary != scorers[1].vocabulary:
            raise InputError(
                f"the retain model scores {scorers[1].vocabulary} tokens and the model {scorers[0].vocabulary}; "
                "set model.retain to a model with the same tokenizer"
            )
        for batch in longest_first([ids for ids, _ in pairs], batch_size, progress):
            inputs = collate([pairs[p] for p in batch], tokenizer.pad_token_id)
            rows, golden_rows = (answer_rows(scorer, inputs)[0] for scorer in scorers)
            parts = zip(*(each.split(rows_at_once(scorers[0])) for each in (rows, golden_rows)), strict=True)
            both = torch.cat([_divergences(scorers, *part) for part in parts]).cpu().double().numpy()
            ends = np.cumsum([n_tokens[p] for p in batch])[:-1]
            sums[batch] = [part.sum(axis=0) for part in np.split(both, ends)]
    return pd.DataFrame({"kl_golden_to_model": sums[:, 0], "kl_model_to_golden": sums[:, 1], "n_tokens": n_tokens})


def _divergences(scorers: tuple[Scorer, Scorer], rows: Tensor, golden_rows: Tensor) -> Tensor:
    """[n, 2]: both directions. Logits of -inf must not make 0 · inf."""
    log_p, log_golden = (
        scorer.logits(each).log_softmax(dim=1).clamp_min(-1e4)
        for scorer, each in zip(scorers, (rows, golden_rows), strict=True)
    )
    difference = log_golden - log_p.to(log_golden.device)
    return torch.stack(
        [(log_golden.exp() * difference).sum(dim=1), -(log_p.to(log_golden.device).exp() * difference).sum(dim=1)],
        dim=1,
    )
