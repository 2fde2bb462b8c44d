"""The flow in this very process: no server, no worker; prints what came out."""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.home import run_folder, use_home

use_home()

import sys
from pathlib import Path

from prefect.logging.configuration import setup_logging
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL, temporary_settings

from flows.unlearn import unlearn
from tasks.show import show_run

BAD_INPUT_EXIT, GATES_FAILED_EXIT = 2, 1


def run_in_process(
    requests: Path | None, params: Path, overrides: list[str] | None = None, retry_failed: bool = False
) -> int:
    """Run the flow and print its outcome.

    Returns:
        The exit code: 0 done or nothing to do, 1 gates failed, 2 bad input or no match.
    """
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
            return BAD_INPUT_EXIT
        case "NothingToDo":
            print(state.message)
            return 0
    if state.is_completed() or state.name == "GatesFailed":
        show_run(run_folder(str(state.result(raise_on_failure=False))))
        return 0 if state.is_completed() else GATES_FAILED_EXIT
    state.result()  # a defect: let its traceback be seen
    return GATES_FAILED_EXIT
