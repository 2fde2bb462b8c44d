"""What a model says by itself: batched greedy generation.

Knows nothing of records, sets or references.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig

from unilogit.data.tokenisation import encode_prompt
from unilogit.evaluation.probability import inference, longest_first


def generate_greedily(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    batch_size: int,
    max_new_tokens: int,
    progress: str | None = None,
    encode: Callable[[Any, str], list[int]] = encode_prompt,
) -> list[str]:
    """The most likely next token, again and again, until the end of sequence.

    Sampling, penalties and the like of the model's own generation settings are left aside; its end tokens
    (a chat model has several) are kept.

    Args:
        max_new_tokens: where an answer without end is cut.
        progress: what a progress bar on standard error says; None for no bar.
        encode: a function of tokenizer and prompt that gives the token ids to go on from.

    Returns:
        A text for each prompt, in order, without special tokens; empty where the model ends at once.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    encoded = [encode(tokenizer, prompt) for prompt in prompts]
    ends = _end_tokens(model, tokenizer)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    greedy = GenerationConfig(
        do_sample=False,
        num_beams=1,
        use_cache=True,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=pad,
    )
    device = model.get_input_embeddings().weight.device
    texts = [""] * len(encoded)
    with inference(model), _no_settings_of_its_own(model):
        for batch in longest_first(encoded, batch_size, progress):
            longest = len(encoded[batch[0]])
            ids = torch.full((len(batch), longest), pad)
            mask = torch.zeros_like(ids)
            for row, position in enumerate(batch):
                prompt = encoded[position]
                ids[row, longest - len(prompt) :] = torch.tensor(prompt)
                mask[row, longest - len(prompt) :] = 1
            output = model.generate(ids.to(device), attention_mask=mask.to(device), generation_config=greedy)
            for position, answer in zip(batch, output[:, longest:].tolist(), strict=True):
                texts[position] = tokenizer.decode(_until_end(answer, ends), skip_special_tokens=True)
    return texts


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    own = model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [] if own is None else [own]
    return sorted({tokenizer.eos_token_id, *own})


def _until_end(answer: list[int], ends: list[int]) -> list[int]:
    length = next((place for place, token in enumerate(answer) if token in ends), len(answer))
    return answer[:length]


@contextmanager
def _no_settings_of_its_own(model: Any) -> Iterator[None]:
    """`generate` fills what a configuration leaves open from the model's own: take that away for a while."""
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
