"""Steps as Prefect tasks: what is tried again, and how bad input ends a run.

Knows nothing of what the steps do.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed, State

from unilogit.errors import InputError

BAD_INPUT = "BadInput"


def as_task(function: Callable[..., Any], name: str, *, retries: int = 0) -> Task[..., Any]:
    """`function` as a Prefect task.

    Args:
        function: the step.
        name: shown in the UI and in logs.
        retries: for steps that talk to servers, ten seconds apart; bad input is never tried again.
    """

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            return Failed(name=BAD_INPUT, message=str(error))

    return Task(
        fn=run,
        name=name,
        retries=retries,
        retry_delay_seconds=10,
        retry_condition_fn=_is_not_bad_input,
        cache_policy=NO_CACHE,  # the slow steps know by themselves what they finished before a kill
    )


def _is_not_bad_input(task: Any, run: Any, state: State) -> bool:
    return state.name != BAD_INPUT


def call(step: Task[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a task and return its result.

    Raises:
        InputError: the step refused its input.
    """
    state = step(*args, return_state=True, **kwargs)
    if state.name == BAD_INPUT:
        raise InputError(*(state.message or "").splitlines())
    return state.result()
