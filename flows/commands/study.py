"""`unilogit study`: methods tuned alike and measured beside retain models."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import PARAMS, Overrides, ParamsFile


class Runner(StrEnum):
    """Task runners of Prefect."""

    THREADS = "threads"
    DASK = "dask"
    RAY = "ray"


def study(
    data: Annotated[
        str, typer.Option(help="example, or a folder with the tables of the hub dataset locuslab/TOFU.")
    ] = "example",
    split: Annotated[
        str, typer.Option(help="Who is forgotten: forget01, forget05 or forget10, in per cent.")
    ] = "forget05",
    method: Annotated[
        list[str] | None,
        typer.Option(help="To compare; `unilogit methods` lists them. May be repeated; ten when not given."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Of each method, tuned on the first seed.")] = 8,
    rate: Annotated[list[float] | None, typer.Option(help="A learning rate to try. May be repeated.")] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Of models and of unlearning. May be repeated; 1, 2, 3 when not given.")
    ] = None,
    full: Annotated[
        str | None, typer.Option(help="A model that learned all; a small one is trained when not given.")
    ] = None,
    retain_model: Annotated[
        str | None, typer.Option(help="One that never saw what is forgotten; goes with --full.")
    ] = None,
    work: Annotated[
        Path, typer.Option(help="A folder for all that is made; a study goes on from what is there.")
    ] = Path("var/study"),
    runner: Annotated[
        Runner, typer.Option(help="Where pieces run, if a Prefect server answers; else one by one, here.")
    ] = Runner.THREADS,
    workers: Annotated[int, typer.Option(min=1, help="Pieces at once, each a process of its own.")] = 1,
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
) -> None:
    """Compare methods, all tuned alike, on seeds of their own: forget quality, PrivLeak, utility, gates and cost.

    A killed study goes on where it was when the same is typed again. At the end there are study.json in its folder and,
    in MLflow, an experiment with a run for each method and seed.
    """
    from pydantic import ValidationError

    from flows.study import study_in_process
    from tasks.study.plan import StudyPlan
    from unilogit.errors import InputError

    chosen = {"methods": method, "rates": rate, "seeds": seed}
    fields = {name: value for name, value in chosen.items() if value}
    try:
        plan = StudyPlan.model_validate(
            {
                "data": data,
                "split": split,
                "trials": trials,
                "full": full,
                "retain_model": retain_model,
                "work": work,
                "params": params,
                "overrides": set_ or [],
                **fields,
            }
        )
    except ValidationError as error:
        raise InputError(
            *(
                f"{'.'.join(map(str, problem['loc'])) or 'plan'}: {problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors()
            )
        ) from None
    raise typer.Exit(study_in_process(plan, runner, workers))
