"""Whether a model still talks: answers to general questions, perplexity of general text, drift from the model before.

None of it depends on a corpus or on what is forgotten. Knows models; nothing of files or of gates.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.tokenisation import LEAST_ROOM, encode_prompt
from unilogit.evaluation.divergence import divergence
from unilogit.evaluation.findings import NOT_FINITE, Findings
from unilogit.evaluation.general.questions import general_questions, is_right
from unilogit.evaluation.general.text import general_passages, perplexity
from unilogit.evaluation.generation import generate_greedily
from unilogit.evaluation.probability import score_answers
from unilogit.evaluation.stopwatch import Stopwatch
from unilogit.model import context_length

ANSWER_TOKENS = 24  # enough for a sentence that says it
NO_QUESTIONS = "no general question was asked (evaluate.general.questions)"
NO_TEXT = "perplexity was not measured (evaluate.general.text)"
_NO_ROOM = "the model's context is too short for any general question"


class ModelBefore(NamedTuple):
    """What drift is measured from.

    Attributes:
        model: the model before unlearning.
        answers: question → what it answers, of `GeneralMeasures`.
    """

    model: PreTrainedModel
    answers: Mapping[str, str]


class GeneralMeasures(BaseModel):
    """What was measured of one model on ordinary chat.

    Attributes:
        metrics: accuracy, the share of right answers; probability, the mean of that of a right answer, as of
            `score_answers`; perplexity of a token of general text; drift, the mean over tokens of
            KL(model before ‖ model), in nats, on the former's own answers (0, from itself, until `with_drift` puts
            another); n, how many questions were asked. None where there is no number.
        unavailable: name of each None → why.
        answers: question → what the model answers.
        seconds: what took how long.
    """

    schema_version: Literal[1] = 1
    metrics: dict[str, float | None]
    unavailable: dict[str, str]
    answers: dict[str, str]
    seconds: dict[str, float]

    def with_drift(self, drift: "Drift") -> "GeneralMeasures":
        """The same, with drift from another model."""
        findings = Findings(self.metrics, self.unavailable)
        findings.put(("drift",), drift.value, drift.unavailable)
        return self.model_copy(update={"metrics": findings.metrics, "unavailable": findings.unavailable})


class Drift(BaseModel):
    """How far a model has drifted from the model before.

    Attributes:
        value: in nats per token; None where there is no number.
        unavailable: why there is none; empty where there is one.
        seconds: what took how long.
    """

    schema_version: Literal[1] = 1
    value: float | None
    unavailable: str
    seconds: dict[str, float]


def measure_general(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    questions: int = 100,
    text: bool = True,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    progress: str | None = None,
) -> GeneralMeasures:
    """Measure one model on ordinary chat.

    Questions that the model's context has no room for are not asked.

    Args:
        model: a causal language model; left as it is.
        questions: how many of `general_questions` are asked, the first ones.
        text: whether perplexity is measured.
        batch_tokens: at once, as in `in_batches`.
        max_length: tokens of a window of a long text; the model's context where that is less, or where this is None.
        progress: what the progress bars on standard error say; None for no bars.

    Raises:
        InputError: the tokenizer has no end-of-sequence token.
    """
    watch, findings = Stopwatch(progress), Findings()
    room = context_length(model, max_length)
    asked = [
        question
        for question in general_questions()[:questions]
        if room is None or len(encode_prompt(tokenizer, question.question)) + LEAST_ROOM <= room
    ]
    why_none = _NO_ROOM if questions else NO_QUESTIONS
    answers: dict[str, str] = {}
    if asked:
        with watch("general questions") as label:
            answers = _ask(model, tokenizer, [question.question for question in asked], batch_tokens, label)
    right = sum(is_right(answers[question.question], question.answers) for question in asked)
    findings.put(("accuracy",), right / len(asked) if asked else None, why_none)
    value = None
    if asked:
        with watch("general answers") as label:
            scores = score_answers(
                model,
                tokenizer,
                [question.question for question in asked],
                [question.sentence for question in asked],
                batch_tokens=batch_tokens,
                max_length=max_length,
                progress=label,
            )
        value = float(np.mean(scores["probability"]))
    findings.put(("probability",), value, why_none)
    value = None
    if text:
        with watch("general text") as label:
            value = perplexity(
                model, tokenizer, general_passages(), batch_tokens=batch_tokens, max_length=max_length, progress=label
            )
    findings.put(("perplexity",), value, NO_TEXT)
    findings.put(("drift",), 0.0 if asked else None, why_none)
    findings.put(("n",), len(asked))
    return GeneralMeasures(
        metrics=findings.metrics, unavailable=findings.unavailable, answers=answers, seconds=watch.seconds
    )


def measure_drift(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    measures: GeneralMeasures,
    before: ModelBefore,
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    progress: str | None = None,
) -> Drift:
    """How far a model has drifted from the model before.

    Args:
        measures: of `measure_general`, of the model.
        batch_tokens, max_length, progress: as there.

    Raises:
        InputError: the models have different vocabularies, or the tokenizer has no end-of-sequence token.
    """
    watch = Stopwatch(progress)
    with watch("drift") as label:
        value = _drift(model, tokenizer, before, measures.answers, batch_tokens, max_length, label)
    if value is None:
        return Drift(value=None, unavailable=_NO_ROOM, seconds=watch.seconds)
    is_number = np.isfinite(value)
    return Drift(value=value if is_number else None, unavailable="" if is_number else NOT_FINITE, seconds=watch.seconds)


def nothing_measured() -> GeneralMeasures:
    """What `measure_general` gives for no question and no text, for which no model has to be loaded."""
    why = {
        "accuracy": NO_QUESTIONS,
        "probability": NO_QUESTIONS,
        "perplexity": NO_TEXT,
        "drift": NO_QUESTIONS,
    }
    return GeneralMeasures(metrics={**dict.fromkeys(why), "n": 0}, unavailable=why, answers={}, seconds={})


def _ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    batch_tokens: int | None,
    progress: str | None,
) -> dict[str, str]:
    texts = generate_greedily(
        model, tokenizer, questions, batch_tokens=batch_tokens, max_new_tokens=ANSWER_TOKENS, progress=progress
    )
    return dict(zip(questions, texts, strict=True))


def _drift(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    before: ModelBefore,
    asked: Collection[str],
    batch_tokens: int | None,
    max_length: int | None,
    progress: str | None,
) -> float | None:
    """On the questions that both models have room for; None where there are none."""
    pairs = [(question, answer) for question, answer in before.answers.items() if question in asked]
    if not pairs:
        return None
    sums = divergence(
        model,
        before.model,
        tokenizer,
        [question for question, _ in pairs],
        [answer for _, answer in pairs],
        batch_tokens=batch_tokens,
        max_length=max_length,
        progress=progress,
    )
    return float(np.average(sums["kl_reference_to_model"] / sums["n_tokens"], weights=sums["n_tokens"]))
