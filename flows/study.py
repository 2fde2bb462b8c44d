"""The flow `study`: methods tuned alike, measured on several seeds beside retain models, in one MLflow experiment.

Says what runs after what, and where: in this process one after the other, or on a task runner of Prefect. What a piece
does is in tasks/study/. A killed study goes on with the piece that it was at.
"""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.workspace import use_home

use_home()

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.states import Completed, State
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.in_process import run_flow
from tasks.outcome import as_task, call, end_flow, is_recorded, result_of_task
from tasks.registry.study import log_cell
from tasks.study.measuring import YARDSTICKS, measure_cell
from tasks.study.plan import StudyPlan
from tasks.study.record import write_study
from unilogit.errors import InputError
from unilogit.files import write_text

Future = PrefectFuture[Any]


def work_on(plan_file: str, kind: str, name: str) -> None:
    """One piece, in a process of its own.

    Raises:
        InputError: it failed; it has said why.
    """
    if subprocess.run([sys.executable, "-m", "tasks.study", plan_file, kind, name], check=False).returncode:
        raise InputError(f"study, {kind} {name}: failed, as told above; what was finished is kept")


PIECE = as_task(work_on, "piece of a study", run_name="{kind} {name}")


def _begin(after: Sequence[Future | None], plan_file: str, kind: str, name: str) -> Future | None:
    """A piece on the task runner once others have ended; None where it was done here and now, without Prefect."""
    if is_recorded():
        return PIECE.submit(
            plan_file, kind, name, return_state=False, wait_for=[future for future in after if future is not None]
        )
    call(PIECE, plan_file, kind, name)
    return None


@flow(name="study", log_prints=True)
def study(plan: StudyPlan) -> State:
    """Train, tune, measure; then one run in MLflow for each method and seed.

    Returns:
        Completed, with the file that holds all of it.
    """

    def work() -> State:
        plan_file = plan.folder / "plan.json"
        write_text(plan_file, plan.model_dump_json(indent=2))
        models = {seed: _begin([], str(plan_file), "models", str(seed)) for seed in plan.seeds}
        first = models[plan.seeds[0]]
        tuned = {method: _begin([first], str(plan_file), "tune", method) for method in plan.methods}
        yardsticks = YARDSTICKS if len(plan.seeds) > 1 else YARDSTICKS[:-1]
        cells = [(method, seed) for seed in plan.seeds for method in (*yardsticks, *plan.methods)]
        pieces = [
            _begin([*models.values(), tuned.get(method)], str(plan_file), method, str(seed)) for method, seed in cells
        ]
        for future in (*models.values(), *tuned.values(), *pieces):
            if future is not None:
                future.wait()
                result_of_task(PIECE, future.state)
        measured = {cell: measure_cell(plan, *cell) for cell in cells}  # all are there: read
        for (method, seed), cell in measured.items():
            log_cell(plan, method, seed, cell)
        file = write_study(plan, measured)
        return Completed(message=f"{file}: {plan.name}, {len(plan.methods)} methods on {len(plan.seeds)} seeds")

    return end_flow(work)


def task_runner(name: str, workers: int) -> "TaskRunner[Any]":
    """A task runner of Prefect with so many pieces at once.

    Raises:
        InputError: its package is not installed.
    """
    try:
        if name == "dask":
            from prefect_dask import DaskTaskRunner

            return DaskTaskRunner(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1})
        if name == "ray":
            from prefect_ray import RayTaskRunner

            return RayTaskRunner(init_kwargs={"num_cpus": workers})
    except ModuleNotFoundError:
        raise InputError(f"the task runner {name} is not installed: pip install 'unilogit[{name}]'") from None
    return ThreadPoolTaskRunner(max_workers=workers)


def study_in_process(plan: StudyPlan, runner: str, workers: int) -> int:
    """Run it and print what came of it; the exit code."""
    return run_flow(study.with_options(task_runner=task_runner(runner, workers)), plan)
