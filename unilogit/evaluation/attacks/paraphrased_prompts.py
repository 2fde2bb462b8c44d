"""Is the answer forgotten, or only the question's wording? The same question in other words.

Knows nothing of how paraphrases are made: records bring them. Source: Patil et al. 2023,
arxiv.org/abs/2309.17410.
"""

from collections.abc import Sequence

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.evaluation.attacks.wording import Asked, ask


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
        batch_tokens, max_new_tokens, max_length, progress: as in `ask`.

    Returns:
        As of `ask`, two rows for each record that has a paraphrase: wording "original", then "paraphrased".

    Raises:
        InputError: as `ask`.
    """
    asked = [
        Asked(record, wording, prompt)
        for record in records
        if record.paraphrased_prompt
        for wording, prompt in (("original", record.context), ("paraphrased", record.asked(record.paraphrased_prompt)))
    ]
    return ask(
        model,
        tokenizer,
        asked,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        max_length=max_length,
        progress=progress,
    )
