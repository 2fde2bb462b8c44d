"""Prompts that leave their answers no room in the model, told before anything is trained.

Nothing where the model's tokenizer cannot be used: the steps that need it say why.
"""

import pandas as pd

from tasks.params import Model
from unilogit.data.records import frame_records
from unilogit.errors import InputError

_OF_A_TURN = 16  # tokens that a template adds to a turn at the most, in prompts that are surely short


def long_prompts(records: pd.DataFrame, places: pd.Series, model: Model) -> dict[str, list[str]]:
    """What is wrong with prompts that leave no room for a response, by place.

    Args:
        records: with the columns of CorpusRecord.
        places: where each stands; unique.
    """
    # A token stands for a byte or more, and a chat template adds some: prompts far below need no tokenizer.
    texts = zip(records["prompt"], records["system"].fillna(""), records["history"], strict=True)
    most_tokens = [
        3 * sum(len(text.encode()) for text in (prompt, system, *history)) + _OF_A_TURN * len(history)
        for prompt, system, history in texts
    ]
    is_long = pd.Series(most_tokens, records.index, "int64") > model.max_length
    if not is_long.any():
        return {}
    from transformers import AutoTokenizer

    from unilogit.data.tokenisation import long_prompts as too_long

    # Its place stands for a record, as its id may not be its own.
    prompts = zip(places[is_long], (record.prompt for record in frame_records(records[is_long])), strict=True)
    try:
        refused = too_long(AutoTokenizer.from_pretrained(model.base), prompts, model.max_length)
    except (OSError, ValueError, InputError):
        return {}
    return {
        prompt.record_id: [
            f"the prompt has {prompt.tokens} tokens, of which model.max_length = {model.max_length} leaves it"
            f" {prompt.limit}; shorten it, or raise model.max_length"
        ]
        for prompt in refused
    }
