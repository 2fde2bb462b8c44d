"""Other gates for a run that failed its own: judged by what was measured, without measuring again."""

from pathlib import Path

from pydantic import ValidationError

from tasks.params import Params, load_params
from tasks.report.terminal import show_run, told_again
from tasks.requests.batches import one_run_at_a_time, open_ledger
from tasks.steps import gate, register
from tasks.workspace import Place, Workspace, run_folder
from unilogit.errors import InputError
from unilogit.files import read_json
from unilogit.gates import judge

PASSED, FAILED = 0, 1  # exit codes


def rejudge(batch_id: str, params_file: Path, overrides: list[str] | None = None) -> int:
    """Judge a batch's run by the gates of params.yaml; where they pass, register its model and let it be promoted.

    The run's other parameters stay as they were. Where the gates fail, nothing is changed. Can be repeated.

    Args:
        batch_id: of a batch that failed its gates.

    Returns:
        The exit code.

    Raises:
        InputError: nothing was measured, the batch passed already, or its requests are another batch's by now.
    """
    workspace = Workspace(run_folder(batch_id))
    params = _run_params(workspace).model_copy(update={"gates": load_params(params_file, overrides).gates})
    report = judge(params.gates, read_json(workspace.path(Place.METRICS)))
    if not report.passed:
        print(report)
        return FAILED
    with one_run_at_a_time():
        for step in (gate.STEP, register.STEP):
            print(step.run(workspace, params))
        with open_ledger() as ledger:
            ledger.rejudge(batch_id, f"rejudge {batch_id}")
    show_run(workspace, told_again(params_file, overrides))
    return PASSED


def _run_params(workspace: Workspace) -> Params:
    file = workspace.path(Place.VERSION_PARAMS)
    if not (file.is_file() and workspace.has(Place.METRICS)):
        raise InputError(f"{workspace.root}: no judged run is there; `unilogit requests list` shows every batch")
    try:
        return Params.model_validate(read_json(file))
    except ValidationError:
        raise InputError(f"{file}: is of another version of this program, so the run cannot be judged again") from None
