"""Step: judge the measured metrics by the gates of params.yaml."""

from pathlib import Path

from tasks.command import run_command
from tasks.options import Overrides, ParamsFile
from unilogit.errors import InputError
from unilogit.files import read_json, write_json
from unilogit.gates import GateReport, judge
from unilogit.params import DEFAULT_PARAMS, Params, load_params


def run_gate(workspace: Path, params: Params) -> GateReport:
    """Write gates.json (every verdict) and verdict.json (passed or not, by scope) of a workspace.

    Raises:
        InputError: nothing was measured yet.
    """
    metrics = workspace / "evaluation" / "metrics.json"
    if not metrics.is_file():
        raise InputError(f"{metrics}: no such file; run `python -m tasks.evaluate --workspace {workspace}` first")
    report = judge(params.gates, read_json(metrics))
    write_json(workspace / "gates.json", report.model_dump())
    write_json(
        workspace / "verdict.json",
        {
            "schema_version": 1,
            "passed": report.passed,
            "forget": report.scope_passed("forget", "forget_all"),
            "utility": report.scope_passed("utility"),
        },
    )
    return report


def main(workspace: Path, params: ParamsFile = DEFAULT_PARAMS, set_: Overrides = None) -> str:
    """Judge a workspace's metrics; the verdict is in the output and in gates.json, not in the exit code."""
    report = run_gate(workspace, load_params(params, set_))
    failed = [f"failed: {gate.name}: {gate.reason}" for gate in report.gates if not gate.passed]
    return "\n".join([*failed, f"{len(report.gates) - len(failed)} of {len(report.gates)} gates passed"])


if __name__ == "__main__":
    run_command(main)
