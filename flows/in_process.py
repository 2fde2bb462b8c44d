"""A flow in this very process, without server or worker."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Flow
from prefect.logging.configuration import setup_logging
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL, temporary_settings
from prefect.states import State

from tasks.bad_input import BAD, TRY_AGAIN
from tasks.step import ANOTHER_RUNS, BAD_INPUT, UNAVAILABLE

DONE, GATES_FAILED = 0, 1  # exit codes, beside those of tasks.bad_input


@contextmanager
def without_server() -> Iterator[None]:
    """Let Prefect run flows here.

    prefect.toml names the server of `make up`, which need not be running. What happens is printed, and a defect is
    raised: Prefect's log would say both a second time.
    """
    with temporary_settings(updates={PREFECT_LOGGING_LEVEL: "CRITICAL"}, restore_defaults={PREFECT_API_URL}):
        setup_logging()
        yield


def end_state(flow: "Flow[..., Any]", *arguments: Any) -> "State[Any]":
    """Run a flow; what it prints goes to the terminal."""
    with without_server():
        state = flow.with_options(log_prints=False)(*arguments, return_state=True)
        assert state is not None
        return state


def tell_problems(state: "State[Any]") -> None:
    for problem in (state.message or "").splitlines():
        print(f"error: {problem}", file=sys.stderr)


def run_flow(flow: "Flow[..., Any]", *arguments: Any) -> int:
    """Run a flow that ends in Completed, BadInput, Unavailable or AnotherRuns, and print how.

    Returns:
        The exit code.
    """
    state = end_state(flow, *arguments)
    if state.name == BAD_INPUT:
        tell_problems(state)
        return BAD
    if state.name in (UNAVAILABLE, ANOTHER_RUNS):
        tell_problems(state)
        return TRY_AGAIN
    state.result()  # a defect: let its traceback be seen
    print(state.message)
    return DONE
