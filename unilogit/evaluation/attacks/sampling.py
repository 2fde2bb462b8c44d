"""Does asking again bring back what the most likely answer hides? The best of n sampled answers.

Knows nothing of how an attacker recognises the best: it is the one closest to the truth, which bounds them all.
Source: Scholten et al. 2024, arxiv.org/abs/2410.03523.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.evaluation.generation import generate_samples, reachable_answers
from unilogit.evaluation.rouge import rouge_l_recall

COLUMNS = ["record_id", "samples", "rouge_l_recall"]


def doublings(largest: int) -> tuple[int, ...]:
    """1, 2, 4, … and `largest`: values of n."""
    return (*(1 << power for power in range((largest - 1).bit_length())), largest)


def sampling(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    samples: Sequence[int],
    seed: int,
    batch_tokens: int | None = None,
    max_new_tokens: int,
    progress: str | None = None,
) -> pd.DataFrame:
    """The highest ROUGE-L recall among the first n of one set of samples at temperature 1.

    Args:
        samples: values of n, each at least 1; the largest is how many answers are drawn for each record.
        seed: of the samples; the global random state is as before afterwards.
        batch_tokens: at once, as in `in_batches`.
        max_new_tokens: where an answer without end is cut.
        progress: what a progress bar on standard error begins with; None for no bar.

    Returns:
        A row for each n and record: record_id, samples (int64: n) and rouge_l_recall (float64; NaN where the
        response has no word), which never falls as n grows.

    Raises:
        InputError: as `generate_samples`.
    """
    counts = np.array(sorted(set(samples)), dtype=np.int64)
    if not records or not len(counts):
        return pd.DataFrame(columns=COLUMNS)
    texts = generate_samples(
        model,
        tokenizer,
        [record.context for record in records],
        samples=int(counts[-1]),
        seed=seed,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        names=[f"record {record.record_id}" for record in records],
        progress=progress and f"{progress}: sample answers",
    )
    references = reachable_answers(
        model,
        tokenizer,
        [record.context for record in records],
        [record.response for record in records],
        max_new_tokens,
    )
    recalls = np.stack(
        [rouge_l_recall([reference] * len(drawn), drawn) for reference, drawn in zip(references, texts, strict=True)]
    )
    best = np.maximum.accumulate(recalls, axis=1)[:, counts - 1]
    return pd.DataFrame(
        {
            "record_id": np.tile([record.record_id for record in records], len(counts)),
            "samples": np.repeat(counts, len(records)),
            "rouge_l_recall": best.T.ravel(),
        }
    )
