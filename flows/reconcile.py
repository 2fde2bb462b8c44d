"""The flow `reconcile`: what people promoted in the registry becomes true in the ledger, with certificates.

A champion that may not be one is put back, and that is an event. Idempotent: a call after a kill completes what is
missing.
"""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.workspace import use_home

use_home()

from pathlib import Path

from prefect import flow
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State

from flows.in_process import BAD, DONE, end_state, tell_problems
from tasks.params import Params, load_params
from tasks.registry.promotion import Refusal, find_champion
from tasks.requests.promotion import examine_champion, put_back
from tasks.requests.reconcile import settle
from tasks.step import BAD_INPUT, as_task, call
from unilogit.errors import InputError

examine_champion_task = as_task(examine_champion, "examine champion", retries=2)
put_back_task = as_task(put_back, "put champion back", retries=2)
find_champion_task = as_task(find_champion, "find champion", retries=2)
settle_task = as_task(settle, "close requests")
REFUSED = "unilogit.champion.refused"  # the event that an automation can act on
CHAMPION_REFUSED = "ChampionRefused"


@flow(name="reconcile", log_prints=True)
def reconcile(params_file: str = "params.yaml", overrides: list[str] | None = None) -> State:
    """Accept the champion that people chose, or put it back; close the requests that it unlearned, with certificates.

    Args:
        params_file: the file with every knob.
        overrides: `section.key=value` for single knobs.

    Returns:
        Completed; Failed named ChampionRefused, with the reason, when a champion was put back, or BadInput.
    """
    try:
        params = load_params(params_file, overrides)
        return _reconcile(params, str(flow_run.get_id()))
    except InputError as error:
        return Failed(name=BAD_INPUT, message=str(error))


def _reconcile(params: Params, run: str) -> State:
    refusal, told = call(examine_champion_task, params.register_.registered_model, run)
    for sentence in [*told, *([refusal] if refusal else [])]:
        print(sentence)
    if refusal:
        _tell(refusal)  # before the alias is moved: a kill in between makes two events, and never none
        call(put_back_task, refusal)
    outcome = _settle(params, run)
    return Failed(name=CHAMPION_REFUSED, message=f"{refusal}\n{outcome.message}") if refusal else outcome


def _settle(params: Params, run: str) -> State:
    champion = call(find_champion_task, params.register_.registered_model)
    if champion is None:
        return Completed(name="NothingToDo", message="no version is champion; promote one")
    return Completed(message=str(call(settle_task, champion, params, run)))


def _tell(refusal: Refusal) -> None:
    emit_event(
        REFUSED,
        resource={"prefect.resource.id": f"unilogit.model.{refusal.name}"},
        payload={"version": refusal.version, "reasons": refusal.reasons, "champion": refusal.instead},
    )


def reconcile_in_process(params: Path, overrides: list[str] | None = None) -> int:
    """Run the flow in this very process, and print how it ended.

    Returns:
        The exit code: 0 done; 2 bad input, or a champion was put back.
    """
    state = end_state(reconcile, str(params), overrides)
    if state.name in (BAD_INPUT, CHAMPION_REFUSED):
        tell_problems(state)
        return BAD
    state.result()  # a defect: let its traceback be seen
    print(state.message)
    return DONE
