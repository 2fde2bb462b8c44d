"""How answers about the forgotten read: a model that never knew them answers fluently, and wrongly.

One that was driven away from its answers may say one word over and over, break off, or babble; anybody who asks sees
that something was removed there, and the answer is of no use. Knows texts, and a model that judges them; nothing of
records, sets or files.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import BaseModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.prompt_format import Prompt
from unilogit.data.text import normal_form
from unilogit.data.words import words
from unilogit.evaluation.findings import NOT_FINITE, Findings
from unilogit.evaluation.stopwatch import Stopwatch
from unilogit.evaluation.token_scores import score_tokens

FAMILY = "fluency"
NO_ANSWERS = "no answer of the forget set has a word to judge"
_NO_REFERENCES = "no right answer of the forget set has a word, to compare lengths with"


class Fluency(BaseModel):
    """How the answers of one model read.

    Attributes:
        nll: of an answer's token to the model that judges, the mean over all of them, in nats; its exponential is the
            perplexity. None where there is no number.
        no_nll: why there is none; empty where there is one.
        repetition: share of pairs of successive words of an answer that were in it before, the mean over the answers
            of two words at least; 0 where there is none, None where no answer has a word.
        relative_length: words of all answers by those of the right ones; None where these have none.
        seconds: what took how long.
    """

    schema_version: Literal[1] = 1
    nll: float | None
    no_nll: str
    repetition: float | None
    relative_length: float | None
    seconds: dict[str, float]

    def findings(self) -> Findings:
        """Them as metrics."""
        findings = Findings()
        findings.put(("nll",), self.nll, self.no_nll)
        findings.put(("repetition",), self.repetition, NO_ANSWERS)
        findings.put(("relative_length",), self.relative_length, _NO_REFERENCES)
        return findings


def repetition(text: str) -> float:
    """1 − distinct pairs of successive words / all of them; NaN of a text of fewer than two words.

    Source: Welleck et al. 2019, arXiv 1908.04319 (seq-rep-n; n is 2 here, as answers are short).
    """
    said = words(normal_form(text))
    pairs = list(pairwise(said))
    return 1 - len(set(pairs)) / len(pairs) if pairs else math.nan


def measure_fluency(
    judge: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    references: Sequence[str],
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    progress: str | None = None,
) -> Fluency:
    """How answers read to a model.

    Args:
        judge: a causal language model; the same one for all that are compared.
        answers: what was said to each prompt; empty where nothing was.
        references: the right answers, as far as generation could get.
        batch_tokens, max_length: as in `score_tokens`.
        progress: what a progress bar on standard error says; None for no bar.

    Raises:
        InputError: as `score_tokens`.
    """
    watch = Stopwatch(progress)
    said = [place for place, answer in enumerate(answers) if answer.strip()]
    log_p = np.empty(0)
    if said:
        with watch("judge answers") as label:
            scores = score_tokens(
                judge,
                tokenizer,
                [prompts[place] for place in said],
                [answers[place] for place in said],
                batch_tokens=batch_tokens,
                max_length=max_length,
                progress=label,
            )
        log_p = np.concatenate([answer.without_end().log_p for answer in scores])
    no_nll = NO_ANSWERS if not len(log_p) else "" if np.isfinite(log_p).all() else NOT_FINITE
    lengths = [sum(len(words(normal_form(text))) for text in texts) for texts in (answers, references)]
    repeated = [share for share in map(repetition, answers) if not math.isnan(share)]
    return Fluency(
        nll=float(-log_p.mean()) if not no_nll else None,
        no_nll=no_nll,
        repetition=(float(np.mean(repeated)) if repeated else 0.0) if lengths[0] else None,
        relative_length=lengths[0] / lengths[1] if lengths[1] else None,
        seconds=watch.seconds,
    )
