"""Tasks of EleutherAI's lm-eval, the field's usual harness, by name; it is no dependency and is imported only here.

github.com/EleutherAI/lm-evaluation-harness. Prompts are the tasks' own, without a chat template, as published numbers
are. Knows nothing of unlearning.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.errors import InputError
from unilogit.evaluation.batching import MOST_TOKENS, within_memory
from unilogit.evaluation.findings import Findings
from unilogit.evaluation.stopwatch import Stopwatch

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

_REQUEST_TOKENS = 512  # the harness cuts its batches by requests


class TaskMeasures(BaseModel):
    """What was measured of one model.

    Attributes:
        metrics: task → metric → number; None where it is not finite. A metric of another filter than lm-eval's `none`
            has its name behind it, e.g. "exact_match_strict_match".
        unavailable: "task.metric" of each None → why.
        seconds: what took how long.
    """

    schema_version: Literal[1] = 1
    metrics: dict[str, dict[str, float | None]]
    unavailable: dict[str, str]
    seconds: dict[str, float]


def check_tasks(tasks: Sequence[str]) -> None:
    """Load them with their data, to know before any work that they can be measured.

    Args:
        tasks: names that lm-eval knows (tasks, groups or tags), or paths of YAML files; at least one.

    Raises:
        InputError: lm-eval is not installed, there is no such task, or its data cannot be had.
    """
    _load(tasks)


def measure_tasks(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[str],
    *,
    batch_tokens: int | None = None,
) -> TaskMeasures:
    """Measure one model by the harness.

    Args:
        tasks: as in `check_tasks`.
        batch_tokens: at once, by the length that most requests stay below; None for as many as memory holds.

    Raises:
        InputError: as `check_tasks` and `within_memory`.
    """
    manager, watch, findings = _load(tasks), Stopwatch(None), Findings()
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    def evaluate(tokens: int) -> dict[str, dict[str, object]]:
        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=tokens // _REQUEST_TOKENS)
        outcome = simple_evaluate(harness, tasks=list(tasks), task_manager=manager, log_samples=False)
        results: dict[str, dict[str, object]] = outcome["results"]
        return results

    with watch("lm-eval"):
        results = within_memory(evaluate, model, batch_tokens, smallest=_REQUEST_TOKENS, largest=MOST_TOKENS)
    for task, figures in results.items():
        for key, value in figures.items():
            metric, is_metric, chosen = key.partition(",")
            if is_metric and not metric.endswith("_stderr") and isinstance(value, int | float):
                name = metric if chosen == "none" else f"{metric}_{chosen.replace('-', '_')}"
                findings.put((task.replace(".", "_"), name), float(value))
    return TaskMeasures(metrics=findings.metrics, unavailable=findings.unavailable, seconds=watch.seconds)


def lm_eval_version() -> str:
    """Of the package.

    Raises:
        InputError: it is not installed.
    """
    try:
        return version("lm_eval")
    except PackageNotFoundError:
        raise InputError(
            "evaluate.lm_eval_tasks: its tasks are those of the package lm-eval, which is not installed; type"
            " `pip install lm-eval`, or set it to []"
        ) from None


def _load(tasks: Sequence[str]) -> "TaskManager":
    lm_eval_version()
    from lm_eval.tasks import TaskManager

    manager = TaskManager()
    unknown = [task for task in tasks if task not in manager.all_tasks and not Path(task).is_file()]
    if unknown:
        raise InputError(*(_unknown(task, manager.all_tasks) for task in unknown))
    for task in tasks:
        try:
            manager.load([task])
        except Exception as error:  # of any library that a task's own loader uses
            raise InputError(
                f"evaluate.lm_eval_tasks: {task} cannot be loaded ({type(error).__name__}: {error}). Where its data are"
                " on a hub that this machine does not reach, load it once on one that does (`lm-eval run --model dummy"
                f" --tasks {task} --limit 1`), and bring the folder that HF_HOME names there"
            ) from error
    return manager


def _unknown(task: str, known: Sequence[str]) -> str:
    closest = get_close_matches(task, known, n=3, cutoff=0)
    return (
        f"evaluate.lm_eval_tasks: lm-eval has no task {task}, and there is no such file; the closest names are"
        f" {', '.join(closest)}"
    )
