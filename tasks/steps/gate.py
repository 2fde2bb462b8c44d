"""Step: judge the measured metrics by the gates of params.yaml."""

from tasks.params import Params
from tasks.step import Step
from tasks.workspace import Place, Verdict, Workspace
from unilogit.files import read_json, write_json
from unilogit.gates import GateReport, judge


def run_gate(workspace: Workspace, params: Params) -> GateReport:
    """Judge what was measured; the verdict is in what is written, not in the exit code."""
    report = judge(params.gates, read_json(workspace.path(Place.METRICS)))
    write_json(workspace.path(Place.GATES), report.model_dump())
    workspace.write(
        Verdict(
            passed=report.passed,
            forget=report.scope_passed("forget", "forget_all"),
            utility=report.scope_passed("utility"),
            robustness=report.scope_passed("robustness"),
        )
    )
    return report


STEP = Step(
    name="gate",
    function=run_gate,
    reads=(Place.METRICS,),
    writes=(Place.GATES, Place.VERDICT),
    params=("gates",),
)

if __name__ == "__main__":
    STEP.command()
