"""One answer after several wordings of its question: how likely it is, and what is said instead.

What the attacks by wording share. Knows nothing of how wordings are made.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.records import CorpusRecord
from unilogit.evaluation.generation import generate_greedily, reachable_answers
from unilogit.evaluation.probability import score_answers
from unilogit.evaluation.rouge import rouge_l_recall

COLUMNS = ["record_id", "wording", "nll", "probability", "rouge_l_recall"]


class Asked(NamedTuple):
    """A record's question, in one wording of this name."""

    record: CorpusRecord
    wording: str
    prompt: Prompt


def ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Asked],
    *,
    batch_tokens: int | None,
    max_new_tokens: int,
    max_length: int | None,
    progress: str | None,
) -> pd.DataFrame:
    """Score and generate the response after each wording.

    Args:
        batch_tokens, max_length: as in `score_tokens`.
        max_new_tokens: where an answer without end is cut.
        progress: what progress bars on standard error begin with; None for no bars.

    Returns:
        A row for each, in order: record_id, wording, nll (per answer token, nats), probability and rouge_l_recall of
        the greedy answer (float64; NaN where the response has no word).

    Raises:
        InputError: as `score_tokens` and `generate_greedily`.
    """
    prompts = [one.prompt for one in asked]
    responses = [one.record.response for one in asked]
    names = [f"record {one.record.record_id} ({one.wording} prompt)" for one in asked]
    scores = score_answers(
        model,
        tokenizer,
        prompts,
        responses,
        batch_tokens=batch_tokens,
        max_length=max_length,
        names=names,
        progress=progress and f"{progress}: score answers",
    )
    texts = generate_greedily(
        model,
        tokenizer,
        prompts,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        names=names,
        progress=progress and f"{progress}: generate",
    )
    return scores.assign(
        record_id=[one.record.record_id for one in asked],
        wording=[one.wording for one in asked],
        rouge_l_recall=rouge_l_recall(reachable_answers(model, tokenizer, prompts, responses, max_new_tokens), texts),
    )[COLUMNS]
