"""How far one model's next-token distributions are from another's, on given answers.

Of the unlearned model from the retain model it says what Unilogit aims at (Vasilev et al. 2025, arXiv 2505.06027), from
the model before on anything else what unlearning has changed by the way. Knows nothing of records or sets.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.tokenisation import collate, encode_all
from unilogit.errors import InputError
from unilogit.evaluation.batching import in_batches
from unilogit.evaluation.token_scores import answer_rows, inference, rows_at_once
from unilogit.model import Scorer, context_length, make_scorer


def divergence(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    names: Sequence[str] | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """KL divergence at each token of whole answers, end-of-sequence included, teacher-forced; in nats.

    Args:
        model, reference: causal language models of one tokenizer.
        batch_tokens: at once, as in `in_batches`.
        max_length: tokens of a window; the shorter of the models' contexts where that is less, or where this is None.
        names: as in `score_tokens`.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        A row for each pair, in order: kl_reference_to_model = Σ KL(reference ‖ model) and
        kl_model_to_reference, its reverse, over the n_tokens (int64) tokens of the answer; float64.

    Raises:
        InputError: the models score different vocabularies, or as `score_tokens`.
    """
    max_length = context_length(reference, context_length(model, max_length))
    windows = encode_all(tokenizer, prompts, answers, max_length, names)
    encoded = [window for answer in windows for window in answer]
    n_tokens = [len(window.ids) - window.answer_start for window in encoded]
    sums = np.zeros((len(encoded), 2))
    with inference(model), inference(reference):
        scorers = make_scorer(model), make_scorer(reference)
        if scorers[0].vocabulary != scorers[1].vocabulary:
            raise InputError(
                f"a model of {scorers[0].vocabulary} tokens is compared with one of {scorers[1].vocabulary}; "
                "both need the same tokenizer: where one is the retain model, set model.retain to one that has it"
            )

        def compare(batch: list[int]) -> None:
            inputs = collate([encoded[place] for place in batch], tokenizer.pad_token_id)
            parts = [answer_rows(scorer, inputs)[0].split(rows_at_once(scorers[0])) for scorer in scorers]
            divergences = torch.cat([_divergences(scorers, *rows) for rows in zip(*parts, strict=True)])
            ends = np.cumsum([n_tokens[place] for place in batch])[:-1]
            sums[batch] = [tokens.sum(axis=0) for tokens in np.split(divergences.cpu().double().numpy(), ends)]

        in_batches(compare, [len(window.ids) for window in encoded], model, batch_tokens, progress)
    answer_of_window = np.repeat(np.arange(len(windows)), [len(answer) for answer in windows])
    totals = np.zeros((len(windows), 2))
    np.add.at(totals, answer_of_window, sums)  # pandas would leave out what is not a number
    return pd.DataFrame(
        {
            "kl_reference_to_model": totals[:, 0],
            "kl_model_to_reference": totals[:, 1],
            "n_tokens": np.bincount(answer_of_window, n_tokens, len(windows)).astype(np.int64),
        }
    )


def _divergences(scorers: tuple[Scorer, Scorer], rows: Tensor, reference_rows: Tensor) -> Tensor:
    """[n, 2]: KL(q ‖ p) and KL(p ‖ q), q the reference's. Logits of -inf must not make 0 · inf."""
    log_p = scorers[0].logits(rows).log_softmax(dim=1).clamp_min(-1e4)
    log_q = scorers[1].logits(reference_rows).log_softmax(dim=1).clamp_min(-1e4)
    log_p = log_p.to(log_q.device)
    difference = log_q - log_p
    return torch.stack([(log_q.exp() * difference).sum(dim=1), -(log_p.exp() * difference).sum(dim=1)], dim=1)
