"""How likely a model finds given answers: teacher-forced negative log-likelihood per example.

The base of probability, truth ratio and membership inference. Knows nothing of records or sets.
Source of both probabilities: TOFU, Maini et al. 2024, arxiv.org/abs/2401.06121.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from unilogit.data.tokenisation import IGNORED, collate, encode_pair

_ROWS_AT_ONCE = 2048  # of logits in float32: bounds memory, not the result
# Settings of models whose logits are more than their head's output (Gemma, Cohere, Granite, Falcon-H1).
_MORE_THAN_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """Without gradients or dropout; afterwards the model is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def longest_first(encoded: Sequence[Any], batch_size: int, progress: str | None) -> Iterator[list[int]]:
    """Batches of positions in `encoded`, of similar lengths; longest first, so that memory fails early.

    Args:
        progress: what a progress bar on standard error says; None for no bar.
    """
    order = sorted(range(len(encoded)), key=lambda position: -len(encoded[position]))
    with tqdm(total=len(order), desc=progress, disable=progress is None) as bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            yield batch
            bar.update(len(batch))


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
        model: a causal language model of transformers, in any floating-point type; log-softmax is float32.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        A row for each pair, in order: sum_nll and nll (per answer token; nats, float64), n_tokens (int64)
        and probability = exp(-nll).

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    pairs = [encode_pair(tokenizer, prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    n_tokens = np.array([len(ids) - start for ids, start in pairs], dtype=np.int64)
    sum_nll = np.zeros(len(pairs))
    with inference(model):
        for batch in longest_first([ids for ids, _ in pairs], batch_size, progress):
            sum_nll[batch] = _sum_nll(model, collate([pairs[p] for p in batch], tokenizer.pad_token_id))
    nll = sum_nll / n_tokens
    return pd.DataFrame({"sum_nll": sum_nll, "n_tokens": n_tokens, "nll": nll, "probability": np.exp(-nll)})


def _sum_nll(model: Any, inputs: dict[str, Tensor]) -> np.ndarray:
    """Sum over labels of -log p, in nats: float64 of shape (batch,)."""
    labels = inputs["labels"][:, 1:]
    answered = labels != IGNORED
    device = model.get_input_embeddings().weight.device
    logits = _answer_logits(model, inputs["input_ids"], inputs["attention_mask"], answered)
    target = labels[answered].to(device)
    token_nll = torch.cat(
        [
            cross_entropy(rows.float(), wanted.to(rows.device), reduction="none")
            for rows, wanted in zip(logits.split(_ROWS_AT_ONCE), target.split(_ROWS_AT_ONCE), strict=True)
        ]
    )
    nll = torch.zeros(answered.shape, dtype=torch.float64)
    nll[answered] = token_nll.cpu().double()
    return nll.sum(dim=1).numpy()


def _answer_logits(model: Any, input_ids: Tensor, attention_mask: Tensor, answered: Tensor) -> Tensor:
    """The logits that predict each answer token, in the order of `answered`: shape (tokens, vocabulary).

    The head works at these positions only, where the model's logits are its head's output and nothing else.
    """
    device = model.get_input_embeddings().weight.device
    inputs = {"input_ids": input_ids.to(device), "attention_mask": attention_mask.to(device)}
    body, head = model.get_decoder(), model.get_output_embeddings()
    if body is model or head is None or any(getattr(model.config, name, None) for name in _MORE_THAN_HEAD):
        logits: Tensor = model(**inputs).logits[:, :-1]
        return logits[answered.to(logits.device)]
    hidden = body(**inputs).last_hidden_state[:, :-1]
    scores: Tensor = head(hidden[answered.to(hidden.device)])
    return scores


def normalized_probability(correct: float, wrong: Sequence[float]) -> float:
    """p(correct) / (p(correct) + sum of p(wrong) + 1e-10): the share of the right answer among those offered.

    NaN where there are no wrong answers.
    """
    return correct / (correct + sum(wrong) + 1e-10) if wrong else float("nan")
