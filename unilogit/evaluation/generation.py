"""What a model says by itself: batched generation, greedy or sampled.

Knows nothing of records, sets or references.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig

from unilogit.data.tokenisation import encode_prompt
from unilogit.evaluation.token_scores import inference, longest_first


def generate_greedily(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    batch_size: int,
    max_new_tokens: int,
    starts: Sequence[Sequence[int]] | None = None,
    progress: str | None = None,
    encode: Callable[[Any, str], list[int]] = encode_prompt,
) -> list[str]:
    """The most likely next token, again and again, until the end of sequence.

    Sampling, penalties and the like of the model's own generation settings are left aside; its end tokens
    (a chat model has several) are kept.

    Args:
        max_new_tokens: where an answer without end is cut.
        starts: token ids with which each answer is made to begin; none where it is None.
        progress: what a progress bar on standard error says; None for no bar.
        encode: a function of tokenizer and prompt that gives the token ids to go on from.

    Returns:
        A text for each prompt, in order, without its start and without special tokens; empty where the model
        ends at once.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    encoded = [
        [*encode(tokenizer, prompt), *start]
        for prompt, start in zip(prompts, [()] * len(prompts) if starts is None else starts, strict=True)
    ]
    settings = {"do_sample": False, "max_new_tokens": max_new_tokens}
    return [text for [text] in _generate(model, tokenizer, encoded, 1, batch_size, progress, settings)]


def generate_samples(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    samples: int,
    seed: int,
    batch_size: int,
    max_new_tokens: int,
    progress: str | None = None,
) -> list[list[str]]:
    """Answers drawn from the model's own distribution: temperature 1, no token left out.

    The global random state is as before afterwards. The same seed gives the same texts for the same prompts,
    batch size and device.

    Args:
        samples: answers to each prompt.
        batch_size: answers at once; at least those of one prompt.
        max_new_tokens: where an answer without end is cut.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        For each prompt, in order, `samples` texts without special tokens.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    settings = {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "remove_invalid_values": True,  # a broken model talks nonsense here too, as it does greedily
        "max_new_tokens": max_new_tokens,
    }
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        return _generate(model, tokenizer, encoded, samples, max(1, batch_size // samples), progress, settings)


def _generate(
    model: Any,
    tokenizer: Any,
    encoded: Sequence[list[int]],
    answers: int,
    batch_size: int,
    progress: str | None,
    settings: dict[str, Any],
) -> list[list[str]]:
    """`answers` texts for each of `encoded`, `batch_size` of these at once."""
    ends = _end_tokens(model, tokenizer)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    config = GenerationConfig(
        num_beams=1, num_return_sequences=answers, use_cache=True, eos_token_id=ends, pad_token_id=pad, **settings
    )
    device = model.get_input_embeddings().weight.device
    texts: list[list[str]] = [[] for _ in encoded]
    with inference(model), _no_settings_of_its_own(model):
        for batch in longest_first(encoded, batch_size, progress):
            longest = len(encoded[batch[0]])
            ids = torch.full((len(batch), longest), pad)
            mask = torch.zeros_like(ids)
            for row, position in enumerate(batch):
                prompt = encoded[position]
                ids[row, longest - len(prompt) :] = torch.tensor(prompt)
                mask[row, longest - len(prompt) :] = 1
            output = model.generate(ids.to(device), attention_mask=mask.to(device), generation_config=config)
            for row, answer in enumerate(output[:, longest:].tolist()):
                text = tokenizer.decode(_until_end(answer, ends), skip_special_tokens=True)
                texts[batch[row // answers]].append(text)
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
