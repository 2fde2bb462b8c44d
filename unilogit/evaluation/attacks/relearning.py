"""Does a little of what was forgotten bring back the rest? Fine-tuning on a share of the forget set.

An attacker who holds the weights and some of the forgotten records trains on these; a model that only hides
what it knows then says the others too. What answers have in common is learned by any model: compare the curve
with that of one that never saw the forget set. Knows nothing of the other attacks or of how the model unlearned.
Source: Hu et al. 2024, arxiv.org/abs/2406.13356.
"""

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import collate, encode_all
from unilogit.evaluation.probability import score_answers
from unilogit.model import context_length
from unilogit.progress import track

COLUMNS = ["record_id", "relearned", "step", "nll", "probability"]


def relearning(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    steps: Sequence[int],
    share: float,
    learning_rate: float,
    step_size: int,
    batch_tokens: int | None = None,
    seed: int,
    max_length: int | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """Score all records as a copy of the model is trained on some of them.

    The copy has float32 weights, all trained with AdamW at a constant rate without weight decay or dropout; the
    loss is the mean over answer tokens. It needs the memory of training: 16 bytes a weight beside the model.

    Args:
        steps: optimizer steps after which to score; 0 is the copy as it is.
        share: of the records, drawn with the seed (the same ones for every model), that are trained on; at least one.
        step_size: records, or windows of long ones, in a step, each once before any comes again.
        batch_tokens: at once, as in `in_batches`.
        seed: of the draw and the order.
        max_length: as in `score_tokens`.
        progress: what progress bars on standard error begin with; None for no bars.

    Returns:
        A row for each step and record: record_id, relearned (bool: trained on), step (int64), nll (per answer
        token, nats) and probability (float64).

    Raises:
        InputError: as `score_tokens`.
    """
    if not records:
        return pd.DataFrame(columns=COLUMNS)
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(records))[: max(1, round(share * len(records)))]
    limit, names = context_length(model, max_length), [f"record {record.record_id}" for record in records]
    pairs = [record.context for record in records], [record.response for record in records]
    answers = encode_all(tokenizer, *pairs, limit, names)
    windows = [window for place in chosen for window in answers[place]]
    relearner = copy.deepcopy(model).float().requires_grad_(True).eval()  # eval: no dropout, so no random state
    optimizer = torch.optim.AdamW(relearner.parameters(), lr=learning_rate, weight_decay=0.0)
    device = relearner.device
    batches = _endless_batches(len(windows), step_size, random)
    frames, done = [], 0
    for step in sorted(set(steps)):
        for _ in track(range(done, step), progress and f"{progress}: relearn to step {step}", "step"):
            inputs = collate([windows[place] for place in next(batches)], tokenizer.pad_token_id)
            loss = relearner(**{name: tensor.to(device) for name, tensor in inputs.items()}, use_cache=False).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        done = step
        scores = score_answers(
            relearner,
            tokenizer,
            *pairs,
            batch_tokens=batch_tokens,
            windows=answers,
            progress=progress and f"{progress}: score after step {step}",
        )
        frames.append(
            pd.DataFrame(
                {
                    "record_id": [record.record_id for record in records],
                    "relearned": np.isin(np.arange(len(records)), chosen),
                    "step": step,
                    "nll": scores["nll"],
                    "probability": scores["probability"],
                }
            )
        )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def _endless_batches(count: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Positions below `count`, `size` at a time: each once in a random order, then again in another."""
    while True:
        order = random.permutation(count)
        yield from (order[start : start + size] for start in range(0, count, size))
