"""How a piece of a flow ends: with a result, kept from an earlier run, or in a failure that is told in a sentence.

Below flows/ nothing else knows Prefect, but that a step is a task of it. Knows nothing of what any flow or step does.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from logging import ERROR, INFO, LogRecord, getLogger
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, cast
from uuid import UUID, uuid4

from tasks.defects import as_defect
from unilogit.errors import AnotherRuns, InputError, TemporaryError

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import TaskRun
    from prefect.states import State

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

BAD_INPUT, UNAVAILABLE, DEFECT = "BadInput", "Unavailable", "Defect"  # names of states that are failures
KEPT, ANOTHER_RUNS = "Kept", "AnotherRuns"  # and of some that are none


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What a step returned; `kept` when an earlier run had finished it."""

    result: Result
    kept: bool

    def __str__(self) -> str:
        return f"kept: {self.result}" if self.kept else str(self.result)


def as_task(
    function: Callable[Arguments, Result],
    name: str,
    *,
    run_name: str | None = None,
    retries: int = 1,
    timeout: float | None = None,
) -> "Task[Arguments, Result]":
    """A function as a Prefect task. What may pass is tried again; bad input and defects are not.

    Args:
        name: shown in the UI and in logs.
        run_name: of one run, with the function's arguments in braces; `name` and a number when not given.
        retries: with pauses of 10, 20, 40 … seconds; 1 at least, for Prefect takes a failure without any for an
            exception and logs it as one.
        timeout: seconds; None for no limit.
    """
    from prefect import Task
    from prefect.cache_policies import NO_CACHE
    from prefect.states import Completed
    from prefect.tasks import exponential_backoff

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> "State[Result]":
        def work() -> "State[Result]":
            result = function(*args, **kwargs)
            if isinstance(result, Outcome) and result.kept:
                return Completed(name=KEPT, data=result, message="finished by an earlier run")
            return Completed(data=result)

        return _ended(work)

    return Task(
        fn=run,  # type: ignore[arg-type]  # a state stands for its result
        name=name,
        task_run_name=run_name,
        retries=max(retries, 1),
        retry_delay_seconds=exponential_backoff(backoff_factor=10),
        retry_condition_fn=_may_pass,
        timeout_seconds=timeout,
        cache_policy=NO_CACHE,  # steps know by their stamps what they finished before a kill
    )


def _may_pass(task: "Task[..., object]", run: "TaskRun", state: "State[object]") -> bool:
    return state.name == UNAVAILABLE


def _ended(work: "Callable[[], State[Result]]") -> "State[Result]":
    """The state in which work ends: a failure is told in its message, and is never an exception.

    Of an exception Prefect would keep what it says, which may quote somebody. A defect's traceback is logged, without.
    """
    from prefect.context import get_run_context
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger
    from prefect.states import Completed, Failed

    try:
        return work()
    except InputError as error:
        return Failed(name=BAD_INPUT, message=str(error))
    except AnotherRuns as error:
        return Completed(name=ANOTHER_RUNS, message=str(error))
    except TemporaryError as error:
        return Failed(name=UNAVAILABLE, message=str(error))
    except (ConnectionError, TimeoutError) as error:
        return Failed(name=UNAVAILABLE, message=f"a server does not answer ({type(error).__name__}); try again later")
    except Exception as error:
        defect = as_defect(error)
        with suppress(MissingContextError):
            if defect is not error:  # or the task that it comes from has logged it
                get_run_logger(get_run_context()).error(defect.trace)
        return Failed(name=DEFECT, message=str(defect), data=defect)


def end_flow(work: "Callable[[], State[Result]]") -> "State[Result]":
    """The state in which a flow's work ends; what it says is the last of the flow run's log, too.

    The log is at the server before the state is: who watches the run until it ends has seen why.
    """
    from prefect.logging import get_run_logger

    state = _ended(work)
    if is_recorded():
        log = get_run_logger()
        for line in (state.message or "").splitlines():
            log.log(INFO if state.is_completed() else ERROR, line)
        runs = getLogger("prefect.flow_runs")
        runs.addFilter(_is_no_echo)
        for handler in runs.handlers:
            handler.flush()
    return state


def _is_no_echo(record: LogRecord) -> bool:
    """Whether it is not what Prefect's engine makes of a failed state, after its end: an exception with a traceback."""
    return not str(record.msg).startswith("Engine execution exited with unexpected exception")


def call(task: "Task[Arguments, Result]", *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Run a task and return its result; outside a flow run, the function without Prefect.

    Raises:
        as `result_of_task`.
    """
    state = task(*args, return_state=True, **kwargs) if is_recorded() else _plainly(task, *args, **kwargs)
    return result_of_task(task, state)


def result_of_task(task: "Task[..., Result]", state: "State[Result]") -> Result:
    """What a task that has ended returned.

    Raises:
        InputError: its input cannot be used.
        TemporaryError: something that may pass is in its way, or it took longer than its timeout; AnotherRuns where
            another process does the work.
        Defect: anything else went wrong.
    """
    match state.name:
        case "BadInput":
            raise InputError(*(state.message or "").splitlines())
        case "AnotherRuns":
            raise AnotherRuns(state.message)
        case "Unavailable":
            raise TemporaryError(state.message)
        case "TimedOut":  # Prefect's name; what the step has written so far is gone on from
            raise TemporaryError(f"{task.name} took longer than its timeout of {task.timeout_seconds:.0f} seconds")
    return result_of(state)


def _plainly(task: "Task[Arguments, Result]", *args: Arguments.args, **kwargs: Arguments.kwargs) -> "State[Result]":
    state: State[Result] = task.fn(*args, **kwargs)  # type: ignore[assignment]  # as `as_task` made it
    return state


def result_of(state: "State[Result]") -> Result:
    """What a state holds.

    Raises:
        Defect: its own; or what else kept the work from its end.
    """
    # Without Prefect the state is as it was made, and it takes None for a result that was lost.
    is_none = state.is_completed() and state.data is None
    result = cast("Result | BaseException", None if is_none else state.result(raise_on_failure=False))
    if isinstance(result, BaseException):
        raise result
    return result


def is_recorded() -> bool:
    """Whether this is part of a flow run, which a Prefect server records."""
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def run_id() -> str:
    """What the audit table calls this run: the flow run's id, or a new one."""
    from prefect.runtime import flow_run

    return str(flow_run.get_id() or uuid4()) if is_recorded() else str(uuid4())


def name_run(name: str) -> None:
    """Call this flow run so, from now on."""
    from prefect import get_client
    from prefect.runtime import flow_run

    if is_recorded():
        with get_client(sync_client=True) as client:
            client.set_flow_run_name(UUID(flow_run.get_id()), name)
