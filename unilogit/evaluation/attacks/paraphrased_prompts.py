"""Is the answer forgotten, or only the question's wording? The same question in other words.

Knows nothing of how paraphrases are made: records bring them. Source: Patil et al. 2023,
arxiv.org/abs/2309.17410.
"""

from collections.abc import Sequence

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.evaluation.generation import generate_greedily, reachable_answers
from unilogit.evaluation.probability import score_answers
from unilogit.evaluation.rouge import rouge_l_recall

COLUMNS = ["record_id", "wording", "nll", "probability", "rouge_l_recall"]


def paraphrased_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    batch_tokens: int | None = None,
    max_new_tokens: int,
    max_length: int | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """Score and generate the response after the prompt and after its paraphrase.

    Args:
        records: those without `paraphrased_prompt` are left out, so that both wordings ask for the same answers.
        max_new_tokens: where an answer without end is cut.
        max_length: as in `score_tokens`.
        progress: what progress bars on standard error begin with; None for no bars.

    Returns:
        Two rows for each record that has a paraphrase: record_id, wording ("original" or "paraphrased"), nll
        (per answer token, nats), probability and rouge_l_recall of the greedy answer (float64; NaN where the
        response has no word).

    Raises:
        InputError: as `score_tokens` and `generate_greedily`.
    """
    asked = [
        (record, wording, prompt)
        for record in records
        if record.paraphrased_prompt
        for wording, prompt in (("original", record.context), ("paraphrased", record.asked(record.paraphrased_prompt)))
    ]
    prompts = [prompt for _, _, prompt in asked]
    responses = [record.response for record, _, _ in asked]
    names = [f"record {record.record_id} ({wording} prompt)" for record, wording, _ in asked]
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
        record_id=[record.record_id for record, _, _ in asked],
        wording=[wording for _, wording, _ in asked],
        rouge_l_recall=rouge_l_recall(reachable_answers(model, tokenizer, prompts, responses, max_new_tokens), texts),
    )[COLUMNS]
