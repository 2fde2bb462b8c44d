"""The flow `unlearn`: from pending deletion requests to a gated, registered model.

Says what runs and in which order; what each step does is in tasks/steps/. Runs in-process without any server
(`unilogit run`) or through the deployment `unlearn/production`.

A killed run leaves its batch open; the next run takes it up and keeps the steps that were finished.
"""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.workspace import run_folder, use_home

use_home()

import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging.configuration import setup_logging
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL, temporary_settings
from prefect.states import Completed, Failed, State

from tasks.params import Params, load_params
from tasks.requests import batches
from tasks.step import BAD_INPUT, as_task, call
from tasks.steps import NAMES, load_step
from tasks.workspace import Workspace
from unilogit.errors import InputError
from unilogit.gates import GateReport

take_in = as_task(batches.take_in, "take in requests")
take_batch = as_task(batches.take_batch, "take batch")
STEPS = {name: load_step(name).task() for name in NAMES if name not in ("example", "train", "intake")}


@flow(name="unlearn", log_prints=True)
def unlearn(
    requests: str | None = None,
    params_file: str = "params.yaml",
    overrides: list[str] | None = None,
    retry_failed: bool = False,
) -> State:
    """Unlearn what the pending deletion requests ask for.

    Args:
        requests: a file or folder of deletion requests; data.requests of params.yaml when not given.
        params_file: the file with every knob.
        overrides: `section.key=value` for single knobs.
        retry_failed: take requests of batches that failed their gates, too.

    Returns:
        Completed, or Completed named NothingToDo (no request is pending) or NoMatch (nothing of theirs is in
        the corpus); Failed named GatesFailed, or BadInput with what to correct.
    """
    try:
        params = load_params(params_file, overrides)
        with batches.one_run_at_a_time():
            return _unlearn(params, requests or params.data.requests, retry_failed)
    except InputError as error:
        return Failed(name=BAD_INPUT, message=str(error))


def _unlearn(params: Params, requests: str, retry_failed: bool) -> State:
    run_id = str(flow_run.get_id())
    for file in batches.new_files(requests):
        print(call(take_in, file, params, run_id))
    batch = call(take_batch, params.batch.max_requests, retry_failed, run_id)
    if batch is None:
        return Completed(name="NothingToDo", message="no deletion request is pending; nothing was changed")
    print(batch)

    def run(name: str) -> Any:
        outcome = call(STEPS[name], batch.workspace, params)
        print(outcome)
        return outcome.result

    run("validate")
    extraction = run("extract")
    batches.record_no_match(batch, extraction.no_match, run_id)
    if not extraction.forget:
        batches.finish(batch, run_id, passed=None)
        return Completed(name="NoMatch", message="\n".join(extraction.warnings))
    for name in ("store", "parent", "retain_model", "unlearn"):
        run(name)
    batches.record_unlearned(batch, run_id)
    run("attack")
    run("evaluate")
    report = run("gate")
    _show_gates(report, batch.batch_id)
    registration = run("register")
    batches.finish(batch, run_id, passed=report.passed)
    if report.passed:
        return Completed(data=batch.batch_id, message=f"{registration}")
    failed = "; ".join(verdict.reason for verdict in report.gates if not verdict.passed)
    return Failed(data=batch.batch_id, name="GatesFailed", message=f"{registration}; {failed}")


def _show_gates(report: GateReport, batch_id: str) -> None:
    columns = ("name", "scope", "metric", "op", "threshold", "value", "margin", "passed", "reason")
    create_table_artifact(
        key="gates",
        table=[verdict.model_dump(include=set(columns)) for verdict in report.gates],
        description=f"Gates of batch {batch_id}: {'passed' if report.passed else 'failed'}",
    )


DONE, GATES_FAILED, BAD = 0, 1, 2  # exit codes


def run_in_process(
    requests: Path | None, params: Path, overrides: list[str] | None = None, retry_failed: bool = False
) -> int:
    """Run the flow in this very process, without server or worker, and print its outcome.

    Returns:
        The exit code: 0 done or nothing to do, 1 gates failed, 2 bad input or no match.
    """
    from tasks.report.terminal import show_run

    # prefect.toml names the server of `make up`, which need not be running. What happens is printed, and a
    # defect is raised: Prefect's log would say both a second time.
    with temporary_settings(updates={PREFECT_LOGGING_LEVEL: "CRITICAL"}, restore_defaults={PREFECT_API_URL}):
        setup_logging()
        state = unlearn.with_options(log_prints=False)(
            str(requests) if requests else None, str(params), overrides, retry_failed, return_state=True
        )
    match state.name:
        case "BadInput" | "NoMatch":
            for problem in (state.message or "").splitlines():
                print(f"error: {problem}", file=sys.stderr)
            return BAD
        case "NothingToDo":
            print(state.message)
            return DONE
    if state.is_completed() or state.name == "GatesFailed":
        show_run(Workspace(run_folder(str(state.result(raise_on_failure=False)))))
        return DONE if state.is_completed() else GATES_FAILED
    state.result()  # a defect: let its traceback be seen
    return GATES_FAILED
