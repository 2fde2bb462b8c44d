"""A flow in this very process: as a flow run of the Prefect server where one answers, else without Prefect.

What happens is printed here either way. The server is told what is printed, too, and neither the arguments, of which a
path may name somebody, nor what errors say.
"""

import builtins
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect import Flow, get_client, tags
from prefect.exceptions import MissingContextError, PrefectHTTPStatusError
from prefect.logging import get_run_logger
from prefect.logging.configuration import setup_logging
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import State

from tasks.bad_input import BAD, TRY_AGAIN
from tasks.outcome import BAD_INPUT, result_of
from unilogit.errors import TemporaryError

DONE, GATES_FAILED = 0, 1  # exit codes
PATIENCE = 2.0  # seconds for a server to answer at first
LONGEST_REQUEST = 20.0  # seconds for it to answer later on, when it may be busy


def end_state(flow: "Flow[..., Any]", *arguments: Any) -> "State[Any]":
    """Run a flow; what it prints goes to the terminal.

    Raises:
        TemporaryError: the Prefect server stopped answering in the midst of it.
    """
    if reason := why_unrecorded():
        print(f"Prefect does not record this run: {reason}")
        state: State[Any] = flow.fn(*arguments)
        return state
    # Prefect keeps what a flow is called with: this one is called with nothing.
    here: Flow[[], Any] = Flow(
        fn=lambda: flow.fn(*arguments),
        name=flow.name,
        description=flow.description,
        log_prints=False,
        task_runner=flow.task_runner,
    )
    try:
        with _recording(), tags("unilogit run"):
            return here(return_state=True)  # type: ignore[return-value]  # it is not async
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise TemporaryError(
            f"the Prefect server at {PREFECT_API_URL.value()} stopped answering ({type(error).__name__}); what is"
            " finished is kept: type the same command again, which needs no server"
        ) from error


def why_unrecorded() -> str | None:
    """Why no Prefect server records what runs here; None where one answers."""
    url = PREFECT_API_URL.value()
    if not url:
        return "neither PREFECT_API_URL nor prefect.toml names a server"
    impatient = {PREFECT_API_REQUEST_TIMEOUT: PATIENCE, PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(updates=impatient), get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
    return f"no server answers at {url} ({type(problem).__name__})" if problem else None


@contextmanager
def _recording() -> Iterator[None]:
    """Let the server have what is printed here, as the log of whatever is running; Prefect's own log stays silent."""

    def show_and_log(*words: object, **how: Any) -> None:
        plain(*words, **how)
        if how.get("file") in (None, sys.stdout, sys.stderr):
            try:
                get_run_logger().info(how.get("sep", " ").join(map(str, words)))
            except MissingContextError:
                return  # between the end of the flow and that of this block

    plain: Callable[..., None] = builtins.print
    log = logging.getLogger("prefect")
    with temporary_settings(updates={PREFECT_API_REQUEST_TIMEOUT: LONGEST_REQUEST}):
        setup_logging()
        log.propagate = False
        logging.getLogger("EventsWorker").setLevel(logging.ERROR)  # at the end it says what it still has to send
        builtins.print = show_and_log
        try:
            yield
        finally:
            builtins.print, log.propagate = plain, True


def tell_problems(state: "State[Any]") -> None:
    for problem in (state.message or "").splitlines():
        print(f"error: {problem}", file=sys.stderr)


def run_flow(flow: "Flow[..., Any]", *arguments: Any) -> int:
    """Run a flow that ends in Completed, BadInput, Unavailable or AnotherRuns, and print how.

    Returns:
        The exit code.
    """
    return exit_code(end_state(flow, *arguments))


def exit_code(state: "State[Any]") -> int:
    """Say how a flow ended, and raise its defect."""
    match state.name:
        case "BadInput" | "Unavailable" | "AnotherRuns":
            tell_problems(state)
            return BAD if state.name == BAD_INPUT else TRY_AGAIN
    result_of(state)  # a defect: let its traceback be seen
    print(state.message)
    return DONE
