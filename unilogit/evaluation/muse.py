"""MUSE's text metrics: what a model still recites (VerbMem) and still knows (KnowMem), and how that goes on.

Source: Shi et al. 2024, arXiv 2407.06460, and the code published with it; with stemmed words, as
OpenUnlearning counts. Prompts are plain text, chat model or not.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from unilogit.data.records import CorpusRecord
from unilogit.data.suites.muse import KNOWMEM_FORGET, KNOWMEM_RETAIN, VERBMEM
from unilogit.data.suites.suite import Suite
from unilogit.data.tokenisation import encode_text
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.membership_inference import attack_auc, attack_scores
from unilogit.evaluation.rouge import rouge_l_f1
from unilogit.evaluation.token_scores import score_tokens

VERBMEM_TOKENS, KNOWMEM_TOKENS = 128, 32
# A model without chat template does not end its answer: it goes on with a question of its own.
_ENDS_OF_ANSWER = ("\n\n", "\nQuestion", "Question:")


class MuseEvaluation(NamedTuple):
    """What was measured of one model.

    Attributes:
        examples: a row for each record: set, record_id, generated, rouge_l_f1.
        metrics: verbmem, knowmem_forget, and knowmem_retain (which is MUSE's utility preservation); each in
            [0, 1], where the paper has per cent.
    """

    examples: pd.DataFrame
    metrics: dict[str, float]


def evaluate_muse(
    model: Any, tokenizer: Any, suite: Suite, *, batch_size: int, stem: bool = True, progress: str | None = None
) -> MuseEvaluation:
    """Measure one model on the sets verbmem, knowmem_forget and knowmem_retain.

    Args:
        suite: what `read_muse` returns.
        stem: False for the figures of the paper, whose code does not stem words.
        progress: what the progress bars on standard error say; None for no bars.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    settings: dict[str, Any] = {"batch_size": batch_size, "stem": stem}
    frames = {VERBMEM: verbmem(model, tokenizer, suite.sets[VERBMEM], progress=_bar(progress, VERBMEM), **settings)}
    for name in (KNOWMEM_FORGET, KNOWMEM_RETAIN):
        few_shot = suite.few_shot.get(name, [])
        frames[name] = knowmem(
            model, tokenizer, suite.sets[name], few_shot=few_shot, progress=_bar(progress, name), **settings
        )
    examples = pd.concat([frame.assign(set=name) for name, frame in frames.items()], ignore_index=True)
    metrics = {name: float(frame["rouge_l_f1"].mean()) for name, frame in frames.items()}
    return MuseEvaluation(examples[["set", "record_id", "generated", "rouge_l_f1"]], metrics)


def verbmem(
    model: Any,
    tokenizer: Any,
    records: Sequence[CorpusRecord],
    *,
    batch_size: int,
    max_new_tokens: int = VERBMEM_TOKENS,
    stem: bool = True,
    progress: str | None = None,
) -> pd.DataFrame:
    """How much of a passage's true continuation the model's own is: ROUGE-L F1. VerbMem is its mean.

    Args:
        records: the passage as prompt, and the continuation, of which the first max_new_tokens tokens count.

    Returns:
        A row for each record, in order: record_id, generated, rouge_l_f1.
    """
    texts = generate_greedily(
        model,
        tokenizer,
        [record.prompt for record in records],
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        progress=progress,
        encode=encode_text,
    )
    references = [_first_tokens(tokenizer, record.response, max_new_tokens) for record in records]
    return _frame(records, texts, references, stem)


def knowmem(
    model: Any,
    tokenizer: Any,
    records: Sequence[CorpusRecord],
    *,
    batch_size: int,
    few_shot: Sequence[CorpusRecord] = (),
    max_new_tokens: int = KNOWMEM_TOKENS,
    stem: bool = True,
    progress: str | None = None,
) -> pd.DataFrame:
    """How well the model answers questions after some solved examples: ROUGE-L F1. KnowMem is its mean.

    Args:
        few_shot: the solved examples.

    Returns:
        A row for each record, in order: record_id, generated, rouge_l_f1.
    """
    prefix = "".join(f"Question: {example.prompt}\nAnswer: {example.response}\n\n" for example in few_shot)
    texts = generate_greedily(
        model,
        tokenizer,
        [f"{prefix}Question: {record.prompt}\nAnswer: " for record in records],
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        progress=progress,
        encode=encode_text,
    )
    answers = [_until_end_of_answer(text) for text in texts]
    return _frame(records, answers, [record.response for record in records], stem)


def min_k_auc(
    model: Any,
    tokenizer: Any,
    members: Sequence[CorpusRecord],
    non_members: Sequence[CorpusRecord],
    *,
    batch_size: int,
    progress: str | None = None,
) -> float:
    """AUC of the Min-K% attack on plain texts: what PrivLeak is made of.

    Args:
        members, non_members: texts of the forget set, and texts that no model was trained on; at least one each.

    Returns:
        As `attack_auc`; NaN where the model's likelihoods are not numbers.
    """
    scores = []
    for name, records in (("forget", members), ("holdout", non_members)):
        texts = [record.response for record in records]
        found = score_tokens(
            model,
            tokenizer,
            [record.prompt for record in records],
            texts,
            batch_size,
            with_distribution=True,
            progress=_bar(progress, name),
        )
        of_set = [attack_scores(tokens, text)["min_k"] for tokens, text in zip(found, texts, strict=True)]
        scores.append(np.array(of_set))
    return attack_auc(*scores) if all(np.isfinite(score).all() for score in scores) else math.nan


def sustainability(results: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """How metrics go on as batch after batch is unlearned from one model.

    Args:
        results: the metrics after each batch, in order.

    Returns:
        A row for each batch: batch (1, 2, …), and a column for each metric; NaN where it was not measured.
    """
    return _curve("batch", range(1, len(results) + 1), results)


def scalability(sizes: Sequence[int], results: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """How metrics depend on how much is unlearned at once.

    Args:
        sizes: of the forget sets (records, tokens, …).
        results: the metrics after unlearning each.

    Returns:
        A row for each size, the smallest first: size, and a column for each metric; NaN where it was not measured.
    """
    return _curve("size", sizes, results).sort_values("size", kind="stable", ignore_index=True)


def _curve(name: str, places: Sequence[int], results: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    rows = [{name: place, **result} for place, result in zip(places, results, strict=True)]
    return pd.DataFrame(rows, columns=None if rows else [name])


def _frame(
    records: Sequence[CorpusRecord], texts: Sequence[str], references: Sequence[str], stem: bool
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "record_id": [record.record_id for record in records],
            "generated": list(texts),
            "rouge_l_f1": rouge_l_f1(references, texts, stem=stem),
        }
    )


def _first_tokens(tokenizer: Any, text: str, n: int) -> str:
    ids = tokenizer.encode(text, add_special_tokens=False)
    return text if len(ids) <= n else tokenizer.decode(ids[:n])


def _until_end_of_answer(text: str) -> str:
    for end in _ENDS_OF_ANSWER:
        text = text.partition(end)[0]
    return text


def _bar(progress: str | None, name: str) -> str | None:
    return progress and f"{progress}: {name}"
