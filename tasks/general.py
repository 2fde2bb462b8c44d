"""What is measured of each model on ordinary chat and by lm-eval, kept by the model and the knobs alone.

A part of the step evaluate: nothing here depends on the batch's data. Knows nothing of the sets.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tasks.measurements import measure_once
from tasks.params import TOKENS, Params
from tasks.sets import PARENT, UNLEARNED
from tasks.stamp import code_digest, digest, model_digest
from tasks.workspace import Measured
from unilogit.files import Json, JsonObject

if TYPE_CHECKING:
    from unilogit.evaluation.general.measure import Drift, GeneralMeasures
    from unilogit.evaluation.lm_eval_tasks import TaskMeasures

Kind = TypeVar("Kind", "GeneralMeasures", "Drift", "TaskMeasures")


def check_lm_eval(params: Params) -> None:
    """Whether evaluate.lm_eval_tasks can be measured, which is better known before anything is begun.

    Raises:
        InputError: lm-eval is not installed, there is no such task, or its data cannot be had.
    """
    if params.evaluate.lm_eval_tasks:
        from unilogit.evaluation.lm_eval_tasks import check_tasks

        check_tasks(params.evaluate.lm_eval_tasks)


def measure_ordinary_chat(models: Mapping[str, str], params: Params, metrics: JsonObject) -> dict[str, Measured]:
    """Add `general` of every model to metrics.json's content, and `lm_eval` of those before and after.

    Args:
        models: role → folder or hub name of the model; before is the first.
        metrics: of `compare`; changed.

    Returns:
        Role → what it took.

    Raises:
        InputError: a task of lm-eval cannot be had.
    """
    from unilogit.evaluation.general.comparison import add_general
    from unilogit.evaluation.general.measure import nothing_measured

    took = {role: Measured() for role in models}
    general: dict[str, GeneralMeasures] = {}
    for role in models:
        if not (params.evaluate.general.questions or params.evaluate.general.text):
            general[role] = nothing_measured()
            continue
        general[role] = _general(role, models[role], params, took)
        if role != PARENT and general[role].answers and general[PARENT].answers:
            general[role] = _with_drift(role, models, general, params, took)
    add_general(metrics, general)
    for role in (PARENT, UNLEARNED) if params.evaluate.lm_eval_tasks else ():
        measures = _lm_eval(role, models[role], params, took)
        metrics[role]["lm_eval"] = measures.metrics
        prefix = "" if role == UNLEARNED else f"{role}."
        metrics["unavailable"] |= {f"{prefix}lm_eval.{path}": why for path, why in measures.unavailable.items()}
    return took


def _general(role: str, location: str, params: Params, took: dict[str, Measured]) -> "GeneralMeasures":
    """Of the model alone."""
    from unilogit.evaluation.general import measure
    from unilogit.model import load_model

    config = params.evaluate.general

    def measures() -> "GeneralMeasures":
        model, tokenizer = load_model(location)
        return measure.measure_general(
            model,
            params.model.formatted(tokenizer),
            questions=config.questions,
            text=config.text,
            batch_tokens=params.evaluate.batch_tokens,
            max_length=params.model.max_length,
            progress=f"evaluate {role}",
        )

    inputs: Json = {"model": model_digest(location), **_inputs_of_chat(params)}
    return _measured_once(role, "ordinary chat", inputs, measure.GeneralMeasures, measures, took)


def _with_drift(
    role: str,
    models: Mapping[str, str],
    general: Mapping[str, "GeneralMeasures"],
    params: Params,
    took: dict[str, Measured],
) -> "GeneralMeasures":
    """Beside the parent."""
    from unilogit.evaluation.general import measure
    from unilogit.model import load_model

    def drift() -> "Drift":
        model, tokenizer = load_model(models[role])
        return measure.measure_drift(
            model,
            params.model.formatted(tokenizer),
            general[role],
            measure.ModelBefore(load_model(models[PARENT])[0], general[PARENT].answers),
            batch_tokens=params.evaluate.batch_tokens,
            max_length=params.model.max_length,
            progress=f"evaluate {role}",
        )

    inputs: Json = {
        "model": model_digest(models[role]),
        "parent": model_digest(models[PARENT]),
        **_inputs_of_chat(params),
    }
    return general[role].with_drift(_measured_once(role, "drift", inputs, measure.Drift, drift, took))


def _inputs_of_chat(params: Params) -> dict[str, Json]:
    from unilogit.evaluation.general.questions import general_questions
    from unilogit.evaluation.general.text import general_passages

    return {
        "params": [params.value(key) for key in ("evaluate.general", "evaluate.batch_tokens", *TOKENS)],
        "content": [[list(question) for question in general_questions()], list(general_passages())],
        "code": code_digest("unilogit.evaluation.general.measure"),
    }


def _lm_eval(role: str, location: str, params: Params, took: dict[str, Measured]) -> "TaskMeasures":
    from unilogit.evaluation.lm_eval_tasks import TaskMeasures, lm_eval_version, measure_tasks
    from unilogit.model import load_model

    tasks = params.evaluate.lm_eval_tasks
    inputs: Json = {
        "model": model_digest(location),
        "tasks": [[task, digest(Path(task))] for task in tasks],
        "batch_tokens": params.evaluate.batch_tokens,
        "lm_eval": lm_eval_version(),
        "code": code_digest("unilogit.evaluation.lm_eval_tasks"),
    }

    def measures() -> "TaskMeasures":
        return measure_tasks(*load_model(location), tasks, batch_tokens=params.evaluate.batch_tokens)

    return _measured_once(role, "tasks of lm-eval", inputs, TaskMeasures, measures, took)


def _measured_once(
    role: str, title: str, inputs: Json, kind: type[Kind], measure: Callable[[], Kind], took: dict[str, Measured]
) -> Kind:
    """What `measure` gives, or gave earlier for the same inputs; what it took is added to that of the role."""
    measured = measure_once(inputs, kind, lambda: (measure(), {}))
    took[role] += Measured(earlier=[title]) if measured.is_earlier else Measured(seconds=measured.result.seconds)
    return measured.result
