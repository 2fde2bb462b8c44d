"""How fast this machine trains and measures a model: a few real optimiser steps and batches, timed.

Knows models and pairs of texts; nothing of how many there will be.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as Arguments

from unilogit.data.tokenisation import encode_all, encode_pair
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.probability import score_answers
from unilogit.training.config import UnlearnConfig
from unilogit.training.stopping import Pair
from unilogit.training.trainer import UnlearningTrainer

STEPS = 3  # of which the first, in which things are set up, does not count
ASKED = 32  # prompts that are answered, as many at once as memory holds


@dataclass(frozen=True)
class Pace:
    """Seconds.

    Attributes:
        step: an optimiser step of unlearning; None where nothing is trained.
        trained: a token of it, forward and backward.
        scored: a token of a text that is scored.
        answer: an answer, of as many tokens as it may have at the most.
    """

    step: float | None
    trained: float
    scored: float
    answer: float


def measure_pace(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    config: UnlearnConfig,
    *,
    has_targets: bool,
    max_length: int,
    max_new_tokens: int,
    batch_tokens: int | None,
) -> Pace:
    """Time a few steps of unlearning, a pass of scoring and some answers; the model is of no use afterwards.

    Args:
        pairs: what it was trained on, in lengths like the rest's; at least two.
        config: how it will be unlearned; in one process, for which its batch is.
        has_targets: forget tokens will have targets of their own, which takes longer.
        max_length, max_new_tokens, batch_tokens: as in `evaluate_model`.
    """
    prompts, answers = zip(*pairs, strict=True)
    tokens = sum(len(encode_pair(tokenizer, *pair).ids) for pair in pairs)
    score = partial(score_answers, model, tokenizer, batch_tokens=batch_tokens, max_length=max_length)
    score(prompts[:2], answers[:2])  # the first work of a process takes longer
    begin = time.perf_counter()
    score(prompts, answers)
    scored = (time.perf_counter() - begin) / tokens
    asked = (prompts * ASKED)[:ASKED]
    begin = time.perf_counter()
    generate_greedily(model, tokenizer, asked, batch_tokens=batch_tokens, max_new_tokens=max_new_tokens)
    answer = (time.perf_counter() - begin) / len(asked)
    if config.method == "none":
        return Pace(None, 3 * scored, scored, answer)
    step, trained = _time_steps(model, tokenizer, pairs, config, has_targets, max_length)
    return Pace(step, trained, scored, answer)


def _time_steps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    config: UnlearnConfig,
    has_targets: bool,
    limit: int,
) -> tuple[float, float]:
    """Seconds of a step, and of a token in it."""
    short = {
        "epochs": 1,
        "min_steps": STEPS,
        "neighbour_share": 0.0,
        "learning_rate": 1e-5,
        "processes": "auto",
        "target": "auto" if has_targets else "uniform",
        "sharding": "auto",
    }
    forget = (list(pairs) * config.batch_size)[: config.batch_size]
    prompts, answers = zip(*forget, strict=True)
    encoded = encode_all(tokenizer, prompts, answers, limit) if has_targets else []
    lengths = [sum(len(window.ids) - window.answer_start for window in windows) for windows in encoded]
    trainer = UnlearningTrainer(
        model=model,
        tokenizer=tokenizer,
        forget=forget,
        retain=pairs,
        config=config.model_copy(update=short),
        max_length=limit,
        targets=[np.full((2, length), -1.0, np.float32) for length in lengths],
        alternatives=[answer for _, answer in forget] if config.method == "dpo" else (),
    )
    watch = _Watch()
    trainer.add_callback(watch)
    trainer.run()
    examples = trainer.examples
    tokens = sum(len(row.example.ids) for place in range(len(examples)) for row in examples[place])
    steps = len(examples) // config.batch_size
    seconds = sum(watch.seconds[1:]) / len(watch.seconds[1:])
    return seconds, seconds * steps / tokens


class _Watch(TrainerCallback):
    """Times each optimiser step."""

    def __init__(self) -> None:
        self.begin, self.seconds = 0.0, list[float]()

    def on_step_begin(self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        self.begin = time.perf_counter()

    def on_step_end(self, args: Arguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        self.seconds.append(time.perf_counter() - self.begin)
