"""The flow `purge`: the texts of people who were forgotten long enough ago leave this machine, too."""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.workspace import use_home

use_home()

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow
from prefect.states import Completed, State

from flows.in_process import run_flow
from tasks.outcome import as_task, call, end_flow, run_id
from tasks.params import load_params
from tasks.requests.purge import purge as remove_texts

remove_texts_task = as_task(remove_texts, "remove texts", retries=3, timeout=12 * 3600)


@flow(name="purge", log_prints=True)
def purge(params_file: str = "params.yaml", overrides: list[str] | None = None) -> State:
    """Remove the texts of requests that ended longer than requests.keep_days ago.

    Args:
        params_file: the file with every knob.
        overrides: `section.key=value` for single knobs.
    """

    def work() -> State:
        params = load_params(params_file, overrides)
        purged = call(remove_texts_task, params, datetime.now(UTC), run_id())
        return Completed(message=str(purged))

    return end_flow(work)


def purge_in_process(params: Path, overrides: list[str] | None = None) -> int:
    """Run the flow in this very process; the exit code."""
    return run_flow(purge, str(params), overrides)
