"""What DVC compares between experiments: the numbers that the gates look at, and the loss curve, where git sees them.

metrics.json sets three models side by side, in a folder that git passes over: `dvc exp show` and `dvc metrics diff`
read commits, and want few numbers. Metrics alone, nobody's data: these files are made to be committed.
"""

from functools import reduce
from pathlib import Path
from typing import Annotated

import typer

from tasks.bad_input import tells_bad_input
from tasks.workspace import Metrics, Place, Workspace
from unilogit.files import JsonObject, read_json, write_json, write_text
from unilogit.gates import GateReport

FOLDER = Path("metrics")
NUMBERS, CURVE = "summary.json", Path(Place.LOSS_CURVES).name
UTILITY = "model_utility"  # told whether a gate is on it or not


def write_summary(workspace: Workspace, folder: Path = FOLDER) -> str:
    """Write a judged workspace's numbers and loss curve to a folder; what was written, in a line.

    Raises:
        InputError: a step before has not been run.
    """
    after = workspace.read(Metrics).after
    report = GateReport.model_validate(read_json(workspace.path(Place.GATES)))
    values = {UTILITY: after.get(UTILITY)} | {verdict.metric: verdict.value for verdict in report.gates}
    failed = sum(not verdict.passed for verdict in report.gates)
    numbers: JsonObject = {"gates_failed": failed}
    for path, value in values.items():
        if value is not None:  # a metric that is not available has no number to compare
            *families, name = path.split(".")
            reduce(lambda node, family: node.setdefault(family, {}), families, numbers)[name] = value
    write_json(folder / NUMBERS, numbers)
    write_text(folder / CURVE, workspace.path(Place.LOSS_CURVES).read_text(encoding="utf-8"))
    return f"{folder / NUMBERS}: {failed} of {len(report.gates)} gates failed"


@tells_bad_input
def command(
    workspace: Annotated[Path, typer.Option(help="The folder of the run.")],
    output: Annotated[Path, typer.Option(help="The folder to write, which git is to see.")] = FOLDER,
) -> None:
    """Write the numbers and the loss curve that DVC compares."""
    typer.echo(write_summary(Workspace(workspace), output))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    app(prog_name="python -m tasks.summary")
