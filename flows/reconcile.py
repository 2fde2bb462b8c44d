"""The flow `reconcile`: what people promoted in the registry becomes true in the ledger, with certificates.

Idempotent: a call after a kill completes what is missing.
"""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.workspace import use_home

use_home()

from pathlib import Path

from prefect import flow
from prefect.states import Completed, State

from flows.in_process import run_flow
from tasks.outcome import as_task, call, end_flow, run_id
from tasks.params import load_params
from tasks.registry.lineage import find_champion
from tasks.requests.reconcile import settle

find_champion_task = as_task(find_champion, "find champion", retries=3, timeout=600)
settle_task = as_task(settle, "close requests", retries=3, timeout=3600)


@flow(name="reconcile", log_prints=True)
def reconcile(params_file: str = "params.yaml", overrides: list[str] | None = None) -> State:
    """Close the requests that the champion has unlearned, and write their certificates.

    Args:
        params_file: the file with every knob.
        overrides: `section.key=value` for single knobs.
    """

    def work() -> State:
        params = load_params(params_file, overrides)
        champion = call(find_champion_task, params.register_.registered_model)
        if champion is None:
            return Completed(name="NothingToDo", message="no version is champion yet; promote one")
        settled = call(settle_task, champion, params, run_id())
        return Completed(message=str(settled))

    return end_flow(work)


def reconcile_in_process(params: Path, overrides: list[str] | None = None) -> int:
    """Run the flow in this very process; the exit code."""
    return run_flow(reconcile, str(params), overrides)
