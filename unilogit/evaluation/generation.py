"""What a model says by itself: batched generation, greedy or sampled.

Knows nothing of records, sets or references.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from unilogit.data.prompt_format import Prompt
from unilogit.data.tokenisation import answer_end, encode_prompt
from unilogit.errors import InputError
from unilogit.evaluation.batching import in_batches
from unilogit.evaluation.token_scores import inference
from unilogit.model import context_length

EncodePrompt = Callable[[PreTrainedTokenizerBase, Prompt], list[int]]


def generate_greedily(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    batch_tokens: int | None = None,
    max_new_tokens: int,
    starts: Sequence[Sequence[int]] | None = None,
    names: Sequence[str] | None = None,
    progress: str | None = None,
    encode: EncodePrompt = encode_prompt,
) -> list[str]:
    """The most likely next token, again and again, until one that ends an answer.

    Those are the end of an answer as it is trained and scored, end-of-sequence and those of the model's own generation
    settings, of which all else (sampling, penalties) is left aside.

    Args:
        batch_tokens: at once, as in `in_batches`; a prompt takes those of the longest answer as well.
        max_new_tokens: where an answer without end is cut; earlier where the model's context ends.
        starts: token ids with which each answer is made to begin; none where it is None.
        names: what an error calls each prompt; by default "prompt 1", "prompt 2", …
        progress: what a progress bar on standard error says; None for no bar.
        encode: a function of tokenizer and prompt that gives the token ids to go on from.

    Returns:
        A text for each prompt, in order, without its start and without special tokens; empty where the model
        ends at once.

    Raises:
        InputError: a prompt leaves no room in the model's context, the tokenizer has no end-of-sequence token, or as
            `in_batches`.
    """
    encoded = [
        [*encode(tokenizer, prompt), *start]
        for prompt, start in zip(prompts, [()] * len(prompts) if starts is None else starts, strict=True)
    ]
    limits = _token_limits(model, encoded, max_new_tokens, names)
    return _generate(model, tokenizer, encoded, limits, batch_tokens, progress)


def generate_samples(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    samples: int,
    seed: int,
    batch_tokens: int | None = None,
    max_new_tokens: int,
    names: Sequence[str] | None = None,
    progress: str | None = None,
) -> list[list[str]]:
    """Answers drawn from the model's own distribution: temperature 1, no token left out.

    Each answer has a random state of its own: the same seed gives the same texts for the same prompts and device,
    however they are batched. The global one is left alone.

    Args:
        samples: answers to each prompt.
        batch_tokens, max_new_tokens, names: as in `generate_greedily`.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        For each prompt, in order, `samples` texts without special tokens.

    Raises:
        InputError: as `generate_greedily`.
    """
    encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    limits = _token_limits(model, encoded, max_new_tokens, names)
    seeds = np.random.default_rng(seed).integers(1 << 63, size=(len(prompts), samples))
    texts = _generate(
        model,
        tokenizer,
        [ids for ids in encoded for _ in range(samples)],
        [limit for limit in limits for _ in range(samples)],
        batch_tokens,
        progress,
        seeds.ravel().tolist(),
    )
    return [texts[first : first + samples] for first in range(0, len(texts), samples)]


def reachable_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    max_new_tokens: int,
    starts: Sequence[Sequence[int]] | None = None,
) -> list[str]:
    """Each answer as far as generation can get: cut after as many tokens as `generate_greedily` is given.

    What is longer could never be said whole, and the share of it that is said would be capped.

    Args:
        starts: as in `generate_greedily`; the answers are what is to follow them.
    """
    context, cut = context_length(model), list(answers)
    for place, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids, limit = tokenizer.encode(answer, add_special_tokens=False), max_new_tokens
        if context is not None:
            before = len(encode_prompt(tokenizer, prompt)) + (len(starts[place]) if starts else 0)
            limit = max(0, min(limit, context - before))
        if len(ids) > limit:
            cut[place] = str(tokenizer.decode(ids[:limit], skip_special_tokens=True))
    return cut


def _token_limits(
    model: PreTrainedModel, encoded: Sequence[Sequence[int]], max_new_tokens: int, names: Sequence[str] | None
) -> list[int]:
    """How many tokens may follow each prompt: max_new_tokens, or what the model's context leaves of them."""
    context = context_length(model)
    if context is None:
        return [max_new_tokens] * len(encoded)
    if names is None:
        names = [f"prompt {number}" for number in range(1, len(encoded) + 1)]
    for ids, name in zip(encoded, names, strict=True):
        if len(ids) >= context:
            raise InputError(
                f"{name}: its prompt has {len(ids)} tokens, which leaves no room for an answer in the model's context "
                f"of {context}; shorten the prompt, or use a model with a longer context"
            )
    return [min(max_new_tokens, context - len(ids)) for ids in encoded]


def _generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encoded: Sequence[list[int]],
    limits: Sequence[int],
    batch_tokens: int | None,
    progress: str | None,
    seeds: Sequence[int] | None = None,
) -> list[str]:
    """A text for each prompt.

    Args:
        limits: how many tokens may follow each prompt.
        seeds: of each text, where it is drawn; None where it is the likeliest.
    """
    ends = _end_tokens(model, tokenizer)
    pad: int = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    settings = {"do_sample": False, "num_beams": 1, "use_cache": True, "eos_token_id": ends, "pad_token_id": pad}
    generate = cast(Callable[..., Tensor], model.generate)  # of a mixin that the type does not show
    texts = [""] * len(encoded)

    def say(batch: list[int]) -> None:
        # Where the context is short, the longest prompts of a batch have less room than the others.
        for limit, group in groupby(batch, key=limits.__getitem__):
            places = list(group)
            inputs = _pad_left([encoded[place] for place in places], pad)
            draw = [] if seeds is None else [_Draw([seeds[place] for place in places], model.device)]
            output = generate(
                **{name: tensor.to(model.device) for name, tensor in inputs.items()},
                generation_config=GenerationConfig(**settings, max_new_tokens=limit),
                logits_processor=LogitsProcessorList(draw),
            )
            for place, answer in zip(places, output[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
                texts[place] = str(tokenizer.decode(_until_end(answer, ends), skip_special_tokens=True))

    lengths = [len(ids) + limit for ids, limit in zip(encoded, limits, strict=True)]
    with inference(model), _no_settings_of_its_own(model):
        in_batches(say, lengths, model, batch_tokens, progress)
    return texts


class _Draw(LogitsProcessor):
    """Noise after which the likeliest token is one drawn by the model's own chances (Gumbel-max), from a seed a row.

    Source: Maddison et al. 2014, arxiv.org/abs/1411.0030.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        noise = torch.empty_like(scores)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return cast(torch.FloatTensor, scores - noise.log_())


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    own = model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [] if own is None else [own]
    return sorted({answer_end(tokenizer), *own} | ({tokenizer.eos_token_id} - {None}))


def _pad_left(prompts: Sequence[list[int]], pad: int) -> dict[str, Tensor]:
    """input_ids and attention_mask, each int64 of shape (prompts, longest)."""
    longest = max(len(ids) for ids in prompts)
    input_ids = torch.full((len(prompts), longest), pad)
    attention_mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(prompts):
        input_ids[row, longest - len(ids) :] = torch.tensor(ids)
        attention_mask[row, longest - len(ids) :] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _until_end(answer: list[int], ends: list[int]) -> list[int]:
    length = next((place for place, token in enumerate(answer) if token in ends), len(answer))
    return answer[:length]


@contextmanager
def _no_settings_of_its_own(model: PreTrainedModel) -> Iterator[None]:
    """`generate` fills what a configuration leaves open from the model's own: take that away for a while."""
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
