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
from prefect.states import Completed, Failed, State

from flows.in_process import BAD, end_state, exit_code, tell_problems
from tasks.outcome import as_task, call, end_flow, is_recorded, run_id
from tasks.params import Params, load_params
from tasks.registry.promotion import Refusal, find_champion
from tasks.requests.promotion import examine_champion, put_back
from tasks.requests.reconcile import settle
from unilogit.errors import InputError, TemporaryError

examine_champion_task = as_task(examine_champion, "examine champion", retries=3, timeout=3600)
put_back_task = as_task(put_back, "put champion back", retries=3, timeout=600)
find_champion_task = as_task(find_champion, "find champion", retries=3, timeout=600)
settle_task = as_task(settle, "close requests", retries=3, timeout=3600)
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

    def work() -> State:
        params = load_params(params_file, overrides)
        refusal, told = call(examine_champion_task, params.register_.registered_model, run_id())
        for sentence in told:
            print(sentence)
        if refusal is None:
            return _settle(params)
        _tell(refusal)  # before the alias is moved: a kill in between makes two events, and never none
        call(put_back_task, refusal)
        try:
            settled = _settle(params).message
        except (InputError, TemporaryError) as problem:  # the champion comes first
            settled = str(problem)
        return Failed(name=CHAMPION_REFUSED, message=f"{refusal}\n{settled}")

    return end_flow(work)


def _settle(params: Params) -> State:
    champion = call(find_champion_task, params.register_.registered_model)
    if champion is None:
        return Completed(name="NothingToDo", message="no version is champion; promote one")
    return Completed(message=str(call(settle_task, champion, params, run_id())))


def _tell(refusal: Refusal) -> None:
    if is_recorded():
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
    if state.name == CHAMPION_REFUSED:
        tell_problems(state)
        return BAD
    return exit_code(state)
