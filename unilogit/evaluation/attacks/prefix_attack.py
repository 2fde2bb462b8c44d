"""Does the beginning of a forgotten answer bring back its end? The first k answer tokens are given.

Knows nothing of how an attacker comes by them. Source: Carlini et al. 2022, arxiv.org/abs/2202.07646, who give
a prefix of a training text.
"""

from collections.abc import Sequence

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.data.words import has_word
from unilogit.evaluation.generation import generate_greedily, reachable_answers
from unilogit.evaluation.rouge import rouge_l_recall

COLUMNS = ["record_id", "prefix_tokens", "rouge_l_recall"]


def prefix_attack(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    prefix_tokens: Sequence[int],
    batch_tokens: int | None = None,
    max_new_tokens: int,
    progress: str | None = None,
) -> pd.DataFrame:
    """How much of the rest of the response the model says by itself once it begins with the first k tokens.

    Where no word is left to be said (the response has k tokens or fewer, or only punctuation or emoji remain), the
    record has no row at that k. The end of sequence is not counted.

    Args:
        prefix_tokens: values of k.
        max_new_tokens: where an answer without end is cut.
        progress: what a progress bar on standard error begins with; None for no bar.

    Returns:
        A row for each k and record that is measured there: record_id, prefix_tokens (int64: k) and
        rouge_l_recall (float64) of the greedy continuation against the rest of the response.

    Raises:
        InputError: as `generate_greedily`.
    """
    answers = [tokenizer.encode(record.response, add_special_tokens=False) for record in records]
    attacks = []
    for k in sorted(set(prefix_tokens)):
        for record, ids in zip(records, answers, strict=True):
            rest = str(tokenizer.decode(ids[k:], skip_special_tokens=True))
            if has_word(rest):
                attacks.append((record, k, ids[:k], rest))
    prompts, starts = [record.context for record, _, _, _ in attacks], [start for _, _, start, _ in attacks]
    texts = generate_greedily(
        model,
        tokenizer,
        prompts,
        starts=starts,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        names=[f"record {record.record_id} with {k} answer tokens" for record, k, _, _ in attacks],
        progress=progress and f"{progress}: generate",
    )
    return pd.DataFrame(
        {
            "record_id": [record.record_id for record, _, _, _ in attacks],
            "prefix_tokens": pd.Series([k for _, k, _, _ in attacks], dtype="int64"),
            "rouge_l_recall": rouge_l_recall(
                reachable_answers(
                    model, tokenizer, prompts, [rest for _, _, _, rest in attacks], max_new_tokens, starts
                ),
                texts,
            ),
        },
        columns=COLUMNS,
    )
