"""How each model answers about the forgotten, judged by one model for all, and kept by what was said.

A part of the step evaluate. What judges is the checkpoint before it learned the corpus (model.pretrained), or the model
before where there is none. Knows nothing of how answers are judged.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

from tasks.measurements import measure_once
from tasks.params import TOKENS, Params
from tasks.sets import PARENT, UNLEARNED, digest_of_records
from tasks.stamp import code_digest, model_digest
from tasks.workspace import Measured
from unilogit.data.records import CorpusRecord
from unilogit.files import Json, JsonObject, sha256_json

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unilogit.evaluation.evaluate import Evaluation
    from unilogit.evaluation.fluency import Fluency


def put_fluency(
    metrics: JsonObject,
    models: Mapping[str, str],
    evaluations: "Mapping[str, Evaluation]",
    forget: Sequence[CorpusRecord],
    params: Params,
) -> dict[str, Measured]:
    """Add `fluency` of every model to metrics.json's content.

    Args:
        metrics: of `compare`; changed.
        models: role → folder or hub name of the model.
        evaluations: of these.
        forget: the records whose answers are judged, in the order of the evaluations.

    Returns:
        Role → what it took.
    """
    from unilogit.evaluation.examples import FORGET
    from unilogit.evaluation.fluency import FAMILY, Fluency

    judge = params.model.pretrained or models[PARENT]

    @cache
    def opened() -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
        from unilogit.model import load_model

        return load_model(judge)

    took = {}
    for role in sorted(models, key=UNLEARNED.__ne__):  # what is so of all models is told once
        examples = evaluations[role].examples
        answers = examples.loc[examples["set"] == FORGET, "generated"].tolist()
        inputs: Json = {
            "judge": model_digest(judge),
            "records": digest_of_records(forget),
            "answers": sha256_json(answers),
            "params": [params.value(key) for key in ("evaluate.batch_tokens", "evaluate.max_new_tokens", *TOKENS)],
            "code": code_digest("unilogit.evaluation.fluency"),
        }

        def judged(role: str, answers: list[str]) -> "tuple[Fluency, Mapping[str, pd.DataFrame]]":
            return _judge(*opened(), forget, answers, params, f"evaluate {role}"), {}

        measured = measure_once(inputs, Fluency, partial(judged, role, answers))
        findings = measured.result.findings()
        prefix = "" if role == UNLEARNED else f"{role}."
        metrics[role][FAMILY] = findings.metrics
        metrics["unavailable"] |= {f"{prefix}{FAMILY}.{path}": why for path, why in findings.unavailable.items()}
        took[role] = Measured(earlier=["fluency"]) if measured.is_earlier else Measured(seconds=measured.result.seconds)
    return took


def _judge(
    judge: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    forget: Sequence[CorpusRecord],
    answers: Sequence[str],
    params: Params,
    progress: str,
) -> "Fluency":
    from unilogit.evaluation.fluency import measure_fluency
    from unilogit.evaluation.generation import reachable_answers

    formatted, prompts = params.model.formatted(tokenizer), [record.context for record in forget]
    references = reachable_answers(
        judge, formatted, prompts, [record.response for record in forget], params.evaluate.max_new_tokens
    )
    return measure_fluency(
        judge,
        formatted,
        prompts,
        answers,
        references,
        batch_tokens=params.evaluate.batch_tokens,
        max_length=params.model.max_length,
        progress=progress,
    )
