"""What a model says by itself: batched generation, greedy or sampled.

Knows nothing of records, sets or references.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import cast

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.tokenisation import answer_end, encode_prompt
from unilogit.errors import InputError
from unilogit.evaluation.token_scores import inference, longest_first
from unilogit.model import context_length

EncodePrompt = Callable[[PreTrainedTokenizerBase, Prompt], list[int]]


def generate_greedily(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    batch_size: int,
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
        max_new_tokens: where an answer without end is cut; earlier where the model's context ends.
        starts: token ids with which each answer is made to begin; none where it is None.
        names: what an error calls each prompt; by default "prompt 1", "prompt 2", …
        progress: what a progress bar on standard error says; None for no bar.
        encode: a function of tokenizer and prompt that gives the token ids to go on from.

    Returns:
        A text for each prompt, in order, without its start and without special tokens; empty where the model
        ends at once.

    Raises:
        InputError: a prompt leaves no room in the model's context, or the tokenizer has no end-of-sequence token.
    """
    encoded = [
        [*encode(tokenizer, prompt), *start]
        for prompt, start in zip(prompts, [()] * len(prompts) if starts is None else starts, strict=True)
    ]
    limits = _token_limits(model, encoded, max_new_tokens, names)
    settings = {"do_sample": False}
    return [text for [text] in _generate(model, tokenizer, encoded, limits, 1, batch_size, settings, progress)]


def generate_samples(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    samples: int,
    seed: int,
    batch_size: int,
    max_new_tokens: int,
    names: Sequence[str] | None = None,
    progress: str | None = None,
) -> list[list[str]]:
    """Answers drawn from the model's own distribution: temperature 1, no token left out.

    The global random state is as before afterwards. The same seed gives the same texts for the same prompts,
    batch size and device.

    Args:
        samples: answers to each prompt.
        batch_size: answers at once; at least those of one prompt.
        max_new_tokens, names: as in `generate_greedily`.
        progress: what a progress bar on standard error says; None for no bar.

    Returns:
        For each prompt, in order, `samples` texts without special tokens.

    Raises:
        InputError: as `generate_greedily`.
    """
    encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    limits = _token_limits(model, encoded, max_new_tokens, names)
    settings = {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "remove_invalid_values": True,  # a broken model talks nonsense here too, as it does greedily
    }
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        at_once = max(1, batch_size // samples)
        return _generate(model, tokenizer, encoded, limits, samples, at_once, settings, progress)


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
    answers: int,
    batch_size: int,
    settings: Mapping[str, float],
    progress: str | None,
) -> list[list[str]]:
    """`answers` texts for each prompt, `batch_size` prompts at once.

    Args:
        limits: how many tokens may follow each prompt.
    """
    ends = _end_tokens(model, tokenizer)
    pad: int = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    fixed = {"num_beams": 1, "use_cache": True, "eos_token_id": ends, "pad_token_id": pad}
    generate = cast(Callable[..., Tensor], model.generate)  # of a mixin that the type does not show
    texts: list[list[str]] = [[] for _ in encoded]
    with inference(model), _no_settings_of_its_own(model):
        for batch in longest_first(encoded, batch_size, progress):
            # Where the context is short, the longest prompts of a batch have less room than the others.
            for limit, group in groupby(batch, key=limits.__getitem__):
                places = list(group)
                inputs = _pad_left([encoded[place] for place in places], pad)
                output = generate(
                    **{name: tensor.to(model.device) for name, tensor in inputs.items()},
                    generation_config=GenerationConfig(
                        **fixed, **settings, num_return_sequences=answers, max_new_tokens=limit
                    ),
                )
                for row, answer in enumerate(output[:, inputs["input_ids"].shape[1] :].tolist()):
                    text = tokenizer.decode(_until_end(answer, ends), skip_special_tokens=True)
                    texts[places[row // answers]].append(str(text))
    return texts


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
