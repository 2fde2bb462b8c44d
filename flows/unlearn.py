"""The flow `unlearn`: from pending deletion requests to a gated, registered model.

Says what runs and in which order; what each step does is in tasks/steps/. Runs in-process without any server
(`unilogit run`) or through the deployment `unlearn/production`.

A killed run leaves its batch open; the next run takes it up and keeps the steps that were finished.
"""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.workspace import run_folder, use_home

use_home()

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State

from flows.in_process import BAD, DONE, GATES_FAILED, TRY_AGAIN, end_state, tell_problems
from tasks.params import Params, load_params
from tasks.requests import batches
from tasks.step import as_task, call, ended_by
from tasks.steps import NAMES, load_step
from tasks.workspace import Workspace
from unilogit.errors import InputError, TemporaryError
from unilogit.gates import GateReport

look = as_task(batches.new_in, "look for requests", retries=3, timeout=3600)
take_in = as_task(batches.take_in, "take in requests", retries=3, timeout=12 * 3600)
take_batch = as_task(batches.take_batch, "take batch", retries=3, timeout=3600)
STEPS = {name: load_step(name).task() for name in NAMES if name not in ("example", "train", "intake")}
OVERDUE = "unilogit.requests.overdue"  # the event that an automation can act on


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
        Completed, or Completed named NothingToDo (no request is pending), NotFound (nothing of theirs is in the
        corpus; they are watched), Held (a person must decide) or AnotherRuns; Failed named GatesFailed, BadInput with
        what to correct, or Unavailable with what did not answer: the next run goes on from there.
    """
    try:
        params = load_params(params_file, overrides)
        with batches.one_run_at_a_time():
            state = _unlearn(params, requests or params.data.requests, retry_failed)
            _tell_outlook(params)
            return state
    except (InputError, TemporaryError) as error:
        return ended_by(error)


def _unlearn(params: Params, requests: str, retry_failed: bool) -> State:
    run_id = str(flow_run.get_id())
    refused = batches.take_in_new(
        requests,
        params,
        run_id,
        lambda *arguments: call(look, *arguments),
        lambda *arguments: call(take_in, *arguments),
    )
    while batch := call(take_batch, params, retry_failed, run_id):
        print(batch)
        try:
            state = _work(batch, params, run_id)
        except TemporaryError:
            batches.spare_attempt(batch)
            raise
        if state:
            return state
    if refused:
        raise InputError(*refused)
    return Completed(name="NothingToDo", message="no deletion request is pending; nothing was changed")


def _work(batch: batches.TakenBatch, params: Params, run_id: str) -> State | None:
    """Bring a batch to its end; None when it was put back, because somebody withdrew."""

    def run(name: str, once: bool = False) -> Any:
        outcome = call(STEPS[name], batch.workspace, params, once)
        print(outcome)
        return outcome.result

    try:
        run("validate", once=True)
        extraction = run("extract", once=True)
        batches.record_extraction(batch, extraction, run_id)
        if not extraction.forget:
            batches.finish(batch, run_id, passed=None)
            return Completed(name="Held" if extraction.held else "NotFound", message="\n".join(extraction.warnings))
        for name in ("store", "parent", "retain_model"):
            run(name)
    except InputError:
        batches.put_back(batch, run_id)
        raise
    if not batches.begin_training(batch, run_id):
        print(f"batch {batch.batch_id}: a request was withdrawn; the others are taken up anew")
        return None
    run("unlearn")
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


def _tell_outlook(params: Params) -> None:
    """Say what is left for people and later runs; requests that are or will be late are an event, too."""
    outlook = batches.outlook(params)
    print(outlook)
    if outlook.overdue:
        emit_event(
            OVERDUE,
            resource={"prefect.resource.id": "unilogit.requests"},
            payload={"requests": [row.reference for row in outlook.overdue]},
        )


def _show_gates(report: GateReport, batch_id: str) -> None:
    columns = ("name", "scope", "metric", "op", "threshold", "value", "margin", "passed", "reason")
    create_table_artifact(
        key="gates",
        table=[verdict.model_dump(include=set(columns)) for verdict in report.gates],
        description=f"Gates of batch {batch_id}: {'passed' if report.passed else 'failed'}",
    )


def run_in_process(
    requests: str | None, params: Path, overrides: list[str] | None = None, retry_failed: bool = False
) -> int:
    """Run the flow in this very process, without server or worker, and print its outcome.

    Returns:
        The exit code: 0 done, nothing to do, or a person must decide; 1 gates failed; 2 bad input, or nothing of theirs
        is in the corpus; 75 something that may pass is in the way, or another run is at work.
    """
    from tasks.report.terminal import show_run

    state = end_state(unlearn, requests, str(params), overrides, retry_failed)
    match state.name:
        case "BadInput" | "NotFound":
            tell_problems(state)
            return BAD
        case "Unavailable" | "AnotherRuns":
            tell_problems(state)
            return TRY_AGAIN
        case "NothingToDo" | "Held":
            print(state.message)
            return DONE
    if state.is_completed() or state.name == "GatesFailed":
        show_run(Workspace(run_folder(str(state.result(raise_on_failure=False)))))
        return DONE if state.is_completed() else GATES_FAILED
    state.result()  # a defect: let its traceback be seen
    return GATES_FAILED
