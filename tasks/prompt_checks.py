"""Prompts that the model cannot be asked, told before anything is trained: too long, or refused by its template.

Nothing where the model's tokenizer cannot be used: the steps that need it say why.
"""

from collections.abc import Iterable

import pandas as pd

from tasks.params import Model
from unilogit.data.prompt_format import Conversation, Prompt, render
from unilogit.data.records import frame_contexts
from unilogit.errors import InputError

_OF_A_TURN = 16  # tokens that a template adds to a turn at the most, in prompts that are surely short


def context_of(base: str) -> int | None:
    """How many tokens a model takes at once, by its configuration; None where that is not here or does not say."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True)
    except (OSError, ValueError):
        return None
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    return context if isinstance(context, int) and context > 0 else None


def refused_prompts(records: pd.DataFrame, places: Iterable[str], model: Model) -> dict[str, list[str]]:
    """What is wrong with prompts that leave no room for a response, or are not rendered, by place.

    Args:
        records: with the columns of CorpusRecord.
        places: where each stands; unique.
    """
    context = context_of(model.base)
    limit = min(model.max_length, context or model.max_length)
    contexts = dict(zip(places, frame_contexts(records), strict=True))
    # A token stands for a byte or more, and a template adds some: prompts far below need no tokenizer.
    added = 3 * len((model.prompt_format + (model.system_prompt or "")).encode())
    long = {place: prompt for place, prompt in contexts.items() if added + _most_tokens(prompt) > limit}
    conversations = {place: prompt for place, prompt in contexts.items() if isinstance(prompt, Conversation)}
    if not long and not conversations:
        return {}
    from transformers import AutoTokenizer

    from unilogit.data.tokenisation import encode_prompt, long_prompts

    try:
        tokenizer = model.formatted(AutoTokenizer.from_pretrained(model.base))
        encode_prompt(tokenizer, "x")
    except (OSError, ValueError, InputError):
        return {}
    refused: dict[str, list[str]] = {}
    whys: dict[tuple[bool, int], str] = {}  # system or not, and turns: what a template refuses, it refuses by them
    for place, prompt in conversations.items():
        shape = (prompt.system is not None, len(prompt.turns))
        if shape not in whys:
            try:
                render(tokenizer, prompt)
                whys[shape] = ""
            except InputError as error:
                whys[shape] = str(error)
        if whys[shape]:
            refused[place] = [whys[shape]]
    bound, remedy = f"model.max_length = {limit}", ", or raise model.max_length"
    if limit < model.max_length:
        bound, remedy = f"the model's context of {limit}", ""
    # Its place stands for a record, as its id may not be its own.
    asked = ((place, prompt) for place, prompt in long.items() if place not in refused)
    for too_long in long_prompts(tokenizer, asked, limit):
        told = (
            f"the prompt has {too_long.tokens} tokens, of which {bound} leaves it {too_long.limit}; shorten it{remedy}"
        )
        refused[too_long.record_id] = [told]
    return refused


def _most_tokens(prompt: Prompt) -> int:
    texts = [prompt] if isinstance(prompt, str) else [*prompt.turns, prompt.system or ""]
    return sum(3 * len(text.encode()) + _OF_A_TURN for text in texts) - _OF_A_TURN
