"""MUSE's text metrics: what a model still recites (VerbMem) and still knows (KnowMem), and how that goes on.

Source: Shi et al. 2024, arXiv 2407.06460, and the code published with it; with stemmed words, as
OpenUnlearning counts. Prompts are plain text, chat model or not.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import encode_text
from unilogit.evaluation.benchmarks.muse import KNOWMEM_FORGET, KNOWMEM_RETAIN, VERBMEM
from unilogit.evaluation.benchmarks.suite import Suite
from unilogit.evaluation.findings import Findings, left_out
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.membership_inference import attack_auc, attack_scores
from unilogit.evaluation.rouge import NO_WORDS, WITHOUT_WORDS, rouge_l_f1
from unilogit.evaluation.token_scores import score_tokens

VERBMEM_TOKENS, KNOWMEM_TOKENS = 128, 32
# A model without chat template does not end its answer: it goes on with a question of its own.
_ENDS_OF_ANSWER = ("\n\n", "\nQuestion", "Question:")


class MuseEvaluation(NamedTuple):
    """What was measured of one model.

    Attributes:
        examples: a row for each record: set, record_id, generated, rouge_l_f1.
        findings: verbmem, knowmem_forget, and knowmem_retain (which is MUSE's utility preservation); each in
            [0, 1], where the paper has per cent.
    """

    examples: pd.DataFrame
    findings: Findings


def evaluate_muse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    suite: Suite,
    *,
    batch_tokens: int | None = None,
    stem: bool = True,
    progress: str | None = None,
) -> MuseEvaluation:
    """Measure one model on the sets verbmem, knowmem_forget and knowmem_retain.

    Args:
        suite: what `read_muse` returns.
        batch_tokens: at once, as in `in_batches`.
        stem: False for the figures of the paper, whose code does not stem words.
        progress: what the progress bars on standard error say; None for no bars.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    frames = {}
    for name in (VERBMEM, KNOWMEM_FORGET, KNOWMEM_RETAIN):
        measure = verbmem if name == VERBMEM else partial(knowmem, few_shot=suite.few_shot.get(name, ()))
        frames[name] = measure(
            model, tokenizer, suite.sets[name], batch_tokens=batch_tokens, stem=stem, progress=_bar(progress, name)
        )
    examples = pd.concat([frame.assign(set=name) for name, frame in frames.items()], ignore_index=True)
    findings = Findings()
    for name, frame in frames.items():
        values = frame["rouge_l_f1"].dropna()
        mean = float(values.mean()) if len(values) else None
        findings.put((name,), mean, NO_WORDS, left_out(len(frame) - len(values), len(frame), WITHOUT_WORDS))
    return MuseEvaluation(examples[["set", "record_id", "generated", "rouge_l_f1"]], findings)


def verbmem(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    batch_tokens: int | None = None,
    max_new_tokens: int = VERBMEM_TOKENS,
    stem: bool = True,
    progress: str | None = None,
) -> pd.DataFrame:
    """How much of a passage's true continuation the model's own is: ROUGE-L F1. VerbMem is its mean.

    Args:
        records: the passage as prompt, and the continuation, of which the first max_new_tokens tokens count.
        batch_tokens, stem, progress: as in `evaluate_muse`.
        max_new_tokens: where the model's own continuation is cut, too.

    Returns:
        A row for each record, in order: record_id, generated, rouge_l_f1.
    """
    prompts = [record.prompt for record in records]
    texts = _continue(model, tokenizer, prompts, batch_tokens, max_new_tokens, progress)
    references = [_first_tokens(tokenizer, record.response, max_new_tokens) for record in records]
    return _frame(records, texts, references, stem)


def knowmem(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    batch_tokens: int | None = None,
    few_shot: Sequence[CorpusRecord] = (),
    max_new_tokens: int = KNOWMEM_TOKENS,
    stem: bool = True,
    progress: str | None = None,
) -> pd.DataFrame:
    """How well the model answers questions after some solved examples: ROUGE-L F1. KnowMem is its mean.

    Args:
        records: questions and answers.
        few_shot: the solved examples.
        batch_tokens, stem, progress: as in `evaluate_muse`.
        max_new_tokens: where an answer without end is cut.

    Returns:
        A row for each record, in order: record_id, generated, rouge_l_f1.
    """
    prefix = "".join(f"Question: {example.prompt}\nAnswer: {example.response}\n\n" for example in few_shot)
    prompts = [f"{prefix}Question: {record.prompt}\nAnswer: " for record in records]
    texts = _continue(model, tokenizer, prompts, batch_tokens, max_new_tokens, progress)
    answers = [_until_end_of_answer(text) for text in texts]
    return _frame(records, answers, [record.response for record in records], stem)


def min_k_auc(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    members: Sequence[CorpusRecord],
    non_members: Sequence[CorpusRecord],
    *,
    batch_tokens: int | None = None,
    progress: str | None = None,
) -> float:
    """AUC of the Min-K% attack on plain texts: what PrivLeak is made of.

    Args:
        members, non_members: texts of the forget set, and texts that no model was trained on; at least one each.
        batch_tokens, progress: as in `evaluate_muse`.

    Returns:
        As `attack_auc`; NaN where the model's likelihoods are not numbers.
    """
    scores = []
    for name, records in (("forget", members), ("holdout", non_members)):
        texts = [record.response for record in records]
        prompts = [record.context for record in records]
        answers = score_tokens(
            model,
            tokenizer,
            prompts,
            texts,
            batch_tokens=batch_tokens,
            with_distribution=True,
            progress=_bar(progress, name),
        )
        min_k = [attack_scores(tokens, text)["min_k"] for tokens, text in zip(answers, texts, strict=True)]
        scores.append(np.array(min_k))
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


def _continue(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    batch_tokens: int | None,
    max_new_tokens: int,
    progress: str | None,
) -> list[str]:
    return generate_greedily(
        model,
        tokenizer,
        prompts,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        progress=progress,
        encode=lambda tokenizer, text: encode_text(tokenizer, str(text)),
    )


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


def _first_tokens(tokenizer: PreTrainedTokenizerBase, text: str, n: int) -> str:
    ids = tokenizer.encode(text, add_special_tokens=False)
    return text if len(ids) <= n else str(tokenizer.decode(ids[:n]))


def _until_end_of_answer(text: str) -> str:
    for end in _ENDS_OF_ANSWER:
        text = text.partition(end)[0]
    return text


def _bar(progress: str | None, name: str) -> str | None:
    return progress and f"{progress}: {name}"
