"""A piece of a study in a process of its own: `python -m tasks.study PLAN.json models 1`, `… tune npo`, `… npo 1`.

Training in the threads of one process would share its random numbers and never give memory back.
"""

import sys
from pathlib import Path

from tasks.bad_input import tells_bad_input
from tasks.command import run_command
from tasks.study.data import models_of
from tasks.study.measuring import measure_cell
from tasks.study.plan import StudyPlan
from tasks.study.tuning import tune


def work(file: str, kind: str, name: str) -> None:
    plan = StudyPlan.model_validate_json(Path(file).read_text())
    if kind == "models":
        models_of(plan, int(name))
    elif kind == "tune":
        tune(plan, name)
    else:
        measure_cell(plan, kind, int(name))


if __name__ == "__main__":
    run_command(lambda: tells_bad_input(work)(*sys.argv[1:]))
