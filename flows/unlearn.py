"""The flow `unlearn`: from pending deletion requests to a gated, registered model.

Says what runs and in which order; what each step does is in tasks/. Runs in-process without any server
(`python -m flows.unlearn`, `unilogit run`) or through the deployment `unlearn/production`.

A killed run leaves its batch open; the next run takes it up and skips the steps that were finished.
"""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.home import use_home

use_home()

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State

from flows.steps import BAD_INPUT, as_task, call
from tasks import batch
from tasks.evaluate import run_evaluate
from tasks.extract import run_extract
from tasks.gate import run_gate
from tasks.golden import run_golden
from tasks.register import run_register
from tasks.store_data import store_data
from tasks.unlearn import run_unlearn
from tasks.validate import validate_corpus
from unilogit.errors import InputError
from unilogit.gates import GateReport
from unilogit.params import Params, load_params

take_in = as_task(batch.take_in, "take in requests")
take_batch = as_task(batch.take_batch, "take batch")
validate = as_task(validate_corpus, "validate corpus")
extract = as_task(run_extract, "extract")
store = as_task(store_data, "store data", retries=2)
choose_parent = as_task(batch.choose_parent, "choose parent model", retries=2)
find_golden = as_task(run_golden, "find golden target")
unlearn_model = as_task(run_unlearn, "unlearn")
evaluate = as_task(run_evaluate, "evaluate")
gate = as_task(run_gate, "gate")
register = as_task(run_register, "register", retries=2)


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
        with batch.one_run_at_a_time():
            return _unlearn(params, Path(requests) if requests else params.data.requests, retry_failed)
    except InputError as error:
        return Failed(name=BAD_INPUT, message=str(error))


def _unlearn(params: Params, requests: Path, retry_failed: bool) -> State:
    run_id = str(flow_run.get_id())
    for file in batch.new_files(requests):
        print(call(take_in, file, run_id))
    taken = call(take_batch, params.batch.max_requests, retry_failed, run_id)
    if taken is None:
        return Completed(name="NothingToDo", message="no deletion request is pending; nothing was changed")
    print(taken)
    workspace = taken.workspace

    print(call(validate, workspace, params.data.corpus, params.data.bad_corpus_rows))
    extracted = call(extract, workspace, params, taken.current, taken.earlier)
    print(extracted)
    batch.record_no_match(taken, extracted.no_match, run_id)
    if not extracted.forget:
        batch.finish(taken, run_id, passed=None)
        return Completed(name="NoMatch", message="\n".join(extracted.warnings))
    print(call(store, workspace))

    parent = call(choose_parent, workspace, params)
    golden = call(find_golden, workspace, params, batch.golden_store())
    print(golden)
    print(call(unlearn_model, workspace, params, parent.model))
    batch.record_unlearned(taken, run_id)
    print(call(evaluate, workspace, params, parent.model, golden.model))
    report = call(gate, workspace, params)
    _show_gates(report, taken.batch_id)
    registered = call(register, workspace, params, parent.version, taken.batch_id)
    print(registered)
    batch.finish(taken, run_id, passed=report.passed)
    if report.passed:
        return Completed(data=taken.batch_id, message=f"{registered}")
    failed = "; ".join(verdict.reason for verdict in report.gates if not verdict.passed)
    return Failed(data=taken.batch_id, name="GatesFailed", message=f"{registered}; {failed}")


def _show_gates(report: GateReport, batch_id: str) -> None:
    columns = ("name", "scope", "metric", "op", "threshold", "value", "margin", "passed", "reason")
    create_table_artifact(
        key="gates",
        table=[verdict.model_dump(include=set(columns)) for verdict in report.gates],
        description=f"Gates of batch {batch_id}: {'passed' if report.passed else 'failed'}",
    )


if __name__ == "__main__":
    import typer

    from unilogit.cli import run

    typer.run(run)
