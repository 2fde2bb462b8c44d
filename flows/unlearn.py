"""The flow `unlearn`: from pending deletion requests to a gated, registered model.

Says what runs and in which order; what each step does is in tasks/steps/. Runs in-process (`unilogit run`), where no
server is needed, or through the deployment `unlearn/production`.

A killed run leaves its batch open; the next run takes it up and keeps the steps that were finished.
"""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.workspace import run_folder, use_home

use_home()

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.events import emit_event
from prefect.states import Completed, Failed, State

from flows.artifacts import show_verdict
from flows.in_process import DONE, GATES_FAILED, end_state, exit_code, tell_problems
from tasks.bad_input import BAD
from tasks.beforehand import check_beforehand
from tasks.general import check_lm_eval
from tasks.outcome import as_task, call, end_flow, is_recorded, name_run, result_of, run_id
from tasks.params import Params, load_params
from tasks.registry.connection import reach
from tasks.registry.live import live_run
from tasks.registry.start import check_forgotten
from tasks.report.review import Review, read_review
from tasks.requests import batches
from tasks.requests.outlook import outlook as find_outlook
from tasks.steps import NAMES, load_step
from tasks.workspace import Registration, Workspace
from unilogit.errors import InputError, TemporaryError

reach_registry = as_task(reach, "reach MLflow", retries=3)
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
        requests: a file or folder of deletion requests; data.requests of params.yaml when not given. Prefect keeps
            what is given here: let no name in it be somebody's.
        params_file: the file with every knob.
        overrides: `section.key=value` for single knobs.
        retry_failed: take requests of batches that failed their gates, too.

    Returns:
        Completed, or Completed named NothingToDo (no request is pending), NotFound (nothing of theirs is in the
        corpus; they are watched), Held (a person must decide) or AnotherRuns; Failed named GatesFailed, BadInput with
        what to correct, Unavailable with what may pass (the next run goes on from there), or Defect.
    """

    def work() -> State:
        params = load_params(params_file, overrides)
        with batches.one_run_at_a_time():
            state = _unlearn(params, params_file, requests or params.data.requests, retry_failed, run_id())
            _tell_outlook(params)
            return state

    return end_flow(work)


def _unlearn(params: Params, params_file: str, requests: str, retry_failed: bool, run: str) -> State:
    call(reach_registry)  # before anything is begun that needs it
    refused = batches.take_in_new(
        requests,
        params,
        run,
        lambda *arguments: call(look, *arguments),
        lambda *arguments: call(take_in, *arguments),
    )
    check_beforehand(params, params_file)
    check_lm_eval(params)
    while batch := call(take_batch, params, retry_failed, run):
        print(batch)
        name_run(f"unlearn {batch.batch_id}")
        try:
            with live_run(batch.workspace, params) as live:
                if state := _work(batch, params, run):
                    return state
                live.put_back()
        except TemporaryError:
            batches.spare_attempt(batch)
            raise
    if refused:
        raise InputError(*refused)
    return Completed(name="NothingToDo", message="no deletion request is pending; nothing was changed")


def _work(batch: batches.TakenBatch, params: Params, run: str) -> State | None:
    """Bring a batch to its end; None when it was put back, because somebody withdrew."""

    def step(name: str, once: bool = False) -> Any:
        outcome = call(STEPS[name], batch.workspace, params, once)
        print(outcome)
        return outcome.result

    try:
        step("validate", once=True)
        extraction = step("extract", once=True)
        batches.record_extraction(batch, extraction, run)
        if not extraction.forget:
            batches.finish(batch, run, passed=None)
            return Completed(name="Held" if extraction.held else "NotFound", message="\n".join(extraction.warnings))
        check_forgotten(batch.workspace, params)
        for name in ("store", "parent", "familiarity", "retain_model", "targets"):
            step(name)
    except InputError:
        batches.put_back(batch, run)
        raise
    if not batches.begin_training(batch, run):
        print(f"batch {batch.batch_id}: a request was withdrawn; the others are taken up anew")
        return None
    step("unlearn")
    batches.record_unlearned(batch, run)
    step("attack")
    step("evaluate")
    passed = step("gate").passed
    registration = step("register")
    review = read_review(batch.workspace)
    show_verdict(review, registration, batch.workspace)
    batches.finish(batch, run, passed=passed)
    message = _verdict(review, registration)
    if passed:
        return Completed(data=batch.batch_id, message=message)
    return Failed(data=batch.batch_id, name="GatesFailed", message=message)


def _verdict(review: Review, registration: Registration) -> str:
    """A sentence, then a line for the version and one for each gate that failed."""
    failed = [f"{gate.name}: {gate.reason}" for gate in review.gates.gates if not gate.passed]
    return "\n".join([review.verdict, f"{registration}, batch {review.batch_id}", *failed])


def _tell_outlook(params: Params) -> None:
    """Say what is left for people and later runs; requests that are or will be late are an event, too."""
    outlook = find_outlook(params)
    print(outlook)
    if outlook.overdue and is_recorded():
        emit_event(
            OVERDUE,
            resource={"prefect.resource.id": "unilogit.requests"},
            payload={"requests": [row.reference for row in outlook.overdue]},
        )


def run_in_process(
    requests: str | None, params: Path, overrides: list[str] | None = None, retry_failed: bool = False
) -> int:
    """Run the flow in this very process, without server or worker, and print its outcome.

    Returns:
        The exit code: 0 done, nothing to do, or a person must decide; 1 gates failed; 2 bad input, or nothing of theirs
        is in the corpus; 75 something that may pass, or another run is at work.

    Raises:
        Defect: anything else.
    """
    from tasks.report.terminal import show_run, told_again

    state = end_state(unlearn, requests, str(params), overrides, retry_failed)
    match state.name:
        case "NotFound":
            tell_problems(state)
            return BAD
        case "Completed" | "GatesFailed":
            show_run(Workspace(run_folder(str(result_of(state)))), told_again(params, overrides))
            return DONE if state.is_completed() else GATES_FAILED
    return exit_code(state)
