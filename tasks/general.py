"""What is measured of each model on ordinary chat and by lm-eval, kept by the model and the knobs alone.

A part of the step evaluate: nothing here depends on the batch's data. Knows nothing of the sets.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pydantic import BaseModel

from tasks.params import TOKENS, Params
from tasks.sets import PARENT, UNLEARNED
from tasks.stamp import Keeper, code_digest, digest
from tasks.workspace import Place, Workspace
from unilogit.files import Json, JsonObject, read_json, write_json

if TYPE_CHECKING:
    from unilogit.evaluation.general.measure import GeneralMeasures
    from unilogit.evaluation.lm_eval_tasks import TaskMeasures

Kind = TypeVar("Kind", bound=BaseModel)


class Measurable(NamedTuple):
    """A model that is measured.

    Attributes:
        location: a folder or hub name.
        digest: of its files.
    """

    location: str
    digest: str | None


def check_lm_eval(params: Params) -> None:
    """Whether evaluate.lm_eval_tasks can be measured, which is better known before anything is begun.

    Raises:
        InputError: lm-eval is not installed, there is no such task, or its data cannot be had.
    """
    if params.evaluate.lm_eval_tasks:
        from unilogit.evaluation.lm_eval_tasks import check_tasks

        check_tasks(params.evaluate.lm_eval_tasks)


def measure_ordinary_chat(
    workspace: Workspace, models: Mapping[str, Measurable], params: Params, metrics: JsonObject
) -> dict[str, dict[str, float]]:
    """Add `general` of every model to metrics.json's content, and `lm_eval` of those before and after.

    Args:
        models: role → model; before is the first.
        metrics: of `compare`; changed.

    Returns:
        Role → what took how long.

    Raises:
        InputError: a task of lm-eval cannot be had.
    """
    from unilogit.evaluation.general.comparison import add_general

    general: dict[str, GeneralMeasures] = {}
    for role in models:
        general[role] = _general(workspace, role, models, general.get(PARENT), params)
    add_general(metrics, general)
    seconds = {role: measures.seconds for role, measures in general.items()}
    for role in (PARENT, UNLEARNED) if params.evaluate.lm_eval_tasks else ():
        measures = _lm_eval(workspace, role, models[role], params)
        metrics[role]["lm_eval"] = measures.metrics
        prefix = "" if role == UNLEARNED else f"{role}."
        metrics["unavailable"] |= {f"{prefix}lm_eval.{path}": why for path, why in measures.unavailable.items()}
        seconds[role] = seconds[role] | measures.seconds
    return seconds


def _general(
    workspace: Workspace,
    role: str,
    models: Mapping[str, Measurable],
    parent_measures: "GeneralMeasures | None",
    params: Params,
) -> "GeneralMeasures":
    """Of the model in a role.

    Args:
        parent_measures: None where it is the parent's turn.
    """
    from unilogit.evaluation.general.measure import GeneralMeasures, ModelBefore, measure_general, nothing_measured
    from unilogit.evaluation.general.questions import general_questions
    from unilogit.evaluation.general.text import general_passages

    config = params.evaluate.general
    inputs: Json = {
        "model": models[role].digest,
        "parent": None if parent_measures is None else models[PARENT].digest,
        "config": [config.model_dump(mode="json"), params.evaluate.batch_tokens, *map(params.value, TOKENS)],
        "content": [[list(question) for question in general_questions()], list(general_passages())],
        "code": code_digest("unilogit.evaluation.general.measure"),
    }

    def measure() -> GeneralMeasures:
        from unilogit.model import load_model

        if not (config.questions or config.text):
            return nothing_measured()
        before: ModelBefore | None = None
        if parent_measures is not None and parent_measures.answers:
            before = ModelBefore(load_model(models[PARENT].location)[0], parent_measures.answers)
        model, tokenizer = load_model(models[role].location)
        return measure_general(
            model,
            params.model.formatted(tokenizer),
            before=before,
            questions=config.questions,
            text=config.text,
            batch_tokens=params.evaluate.batch_tokens,
            max_length=params.model.max_length,
            progress=f"evaluate {role}",
        )

    return _kept(workspace, workspace.ordinary_chat(role), inputs, GeneralMeasures, measure)


def _lm_eval(workspace: Workspace, role: str, model: Measurable, params: Params) -> "TaskMeasures":
    from unilogit.evaluation.lm_eval_tasks import TaskMeasures, lm_eval_version, measure_tasks

    tasks = params.evaluate.lm_eval_tasks
    inputs: Json = {
        "model": model.digest,
        "tasks": [[task, digest(Path(task))] for task in tasks],
        "batch_tokens": params.evaluate.batch_tokens,
        "lm_eval": lm_eval_version(),
        "code": code_digest("unilogit.evaluation.lm_eval_tasks"),
    }

    def measure() -> TaskMeasures:
        from unilogit.model import load_model

        return measure_tasks(*load_model(model.location), tasks, batch_tokens=params.evaluate.batch_tokens)

    return _kept(workspace, workspace.lm_eval(role), inputs, TaskMeasures, measure)


def _kept(workspace: Workspace, file: Path, inputs: Json, kind: type[Kind], measure: Callable[[], Kind]) -> Kind:
    """What `measure` gives, or what it gave earlier for the same inputs."""
    stamp = workspace.path(Place.STAMPS, f"evaluate.{file.name}")
    keeper = Keeper(stamp, inputs, {file.name: file}, type(None))
    keeper.run(lambda: write_json(file, measure().model_dump(mode="json")))
    return kind.model_validate(read_json(file))
