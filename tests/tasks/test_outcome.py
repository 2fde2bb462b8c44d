"""What becomes of a function in a flow run, and without one; and what Prefect keeps of it."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from prefect import Flow, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from prefect.states import Completed
from prefect.testing.utilities import prefect_test_harness

from tasks.defects import Defect
from tasks.outcome import Outcome, as_task, call, end_flow, is_recorded, name_run, run_id
from unilogit.errors import AnotherRuns, InputError, TemporaryError

SECRET = "Zebulon Quark"


@pytest.fixture(scope="module", autouse=True)
def prefect(tmp_path_factory):
    """A Prefect server of the tests' own."""
    with pytest.MonkeyPatch.context() as patch, prefect_test_harness(server_startup_timeout=120):
        patch.setenv("UNILOGIT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def in_flow(function, *arguments, **how):
    """A function as the only task of a flow, which passes its result on; the flow's end state."""
    task = as_task(function, "the task", **how).with_options(retry_delay_seconds=0)
    return Flow(fn=lambda: end_flow(lambda: Completed(data=call(task, *arguments))), name="a flow")(return_state=True)


def task_runs(state):
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + 30  # their states come to the server by themselves
        while not (runs := client.read_task_runs()) or any(not run.state.is_final() for run in runs):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    return [run for run in runs if run.flow_run_id == state.state_details.flow_run_id]


def log_of(state):
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        return [entry.message for entry in client.read_logs(wanted)]


def test_a_result_comes_back_and_a_kept_one_says_so():
    state = in_flow(lambda: Outcome("made", kept=False))
    assert state.result().result == "made"
    assert task_runs(state)[0].state.name == "Completed"
    assert in_flow(lambda: None).result() is None
    state = in_flow(lambda: Outcome("made", kept=True))
    assert state.result().result == "made"
    [run] = task_runs(state)
    assert (run.state.name, run.state.message) == ("Kept", "finished by an earlier run")


def refuse():
    raise InputError("forget.parquet:1: is empty; fill it", "and another")


def test_bad_input_is_told_in_sentences_and_tried_once():
    state = in_flow(refuse, retries=3)
    assert (state.name, state.message) == ("BadInput", "forget.parquet:1: is empty; fill it\nand another")
    assert state.is_failed()
    [run] = task_runs(state)
    assert (run.state.name, run.state.message, run.run_count) == ("BadInput", state.message, 1)
    log = log_of(state)
    assert log.index("forget.parquet:1: is empty; fill it") == log.index("and another") - 1
    assert not [line for line in log if "Traceback" in line or "NoneType" in line]


def test_what_may_pass_is_tried_again():
    calls = []

    def flaky(error, times):
        calls.append(error)
        if len(calls) <= times:
            raise error
        return "done"

    assert in_flow(flaky, TemporaryError("no answer"), 2, retries=2).result() == "done"
    calls.clear()
    assert in_flow(flaky, ConnectionRefusedError(), 1).result() == "done"
    calls.clear()
    state = in_flow(flaky, TemporaryError("MLflow does not answer"), 9, retries=2)
    assert (state.name, state.message) == ("Unavailable", "MLflow does not answer")
    assert len(calls) == 3


def test_where_another_process_does_the_work_there_is_nothing_to_do():
    calls = []

    def meet():
        calls.append(1)
        raise AnotherRuns("another run is at work")

    state = in_flow(meet, retries=3)
    assert (state.name, state.message, len(calls)) == ("AnotherRuns", "another run is at work", 1)
    assert state.is_completed()


def test_what_takes_too_long_is_given_up_and_may_pass():
    state = in_flow(lambda: time.sleep(30), timeout=0.5)
    assert (state.name, state.message) == ("Unavailable", "the task took longer than its timeout of 0 seconds")


def stumble():
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError(f"cannot read {SECRET}") from error


def test_a_defect_keeps_its_traceback_but_not_what_it_says(capfd):
    state = in_flow(stumble)
    assert state.name == "Defect"
    place = f"{Path(__file__).relative_to(Path(__file__).parents[2])}:{stumble.__code__.co_firstlineno + 4}"
    assert state.message.startswith(f"a defect of unilogit: ValueError at {place}; all of it is in ")
    file = Path(state.message.rpartition(" in ")[2])
    assert f"ValueError: cannot read {SECRET}" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(Defect) as raised:
        state.result()
    assert isinstance(raised.value.__cause__, ValueError)  # for whoever sits at the terminal
    [traced] = [line for line in log_of(state) if line.startswith("Traceback")]
    assert 'raise ValueError(f"cannot read {SECRET}") from error' in traced
    assert traced.index("KeyError") < traced.index("and then:") < traced.index("ValueError")
    [run] = task_runs(state)
    assert (run.state.name, run.run_count) == ("Defect", 1)

    database = PREFECT_SERVER_DATABASE_CONNECTION_URL.value().partition("///")[2]
    with closing(sqlite3.connect(database)) as connection:
        assert SECRET not in "\n".join(connection.iterdump())
    assert SECRET not in "".join(capfd.readouterr())


def test_a_run_is_called_what_it_is_about():
    def work(batch):
        return batch

    task = as_task(work, "unlearn", run_name="unlearn {batch}")

    def body():
        name_run("unlearn 20260301-a")
        return call(task, "20260301-a"), run_id()

    state = Flow(fn=body, name="a flow")(return_state=True)
    assert state.result() == ("20260301-a", str(state.state_details.flow_run_id))
    [run] = task_runs(state)
    assert (run.name, run.state.name) == ("unlearn 20260301-a", "Completed")
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(state.state_details.flow_run_id).name == "unlearn 20260301-a"


def test_without_a_flow_run_functions_run_without_prefect():
    with get_client(sync_client=True) as client:
        before = len(client.read_task_runs())
        assert not is_recorded()
        assert call(as_task(lambda: "done", "the task")) == "done"
        assert call(as_task(lambda: None, "the task")) is None
        for function, error in ((refuse, InputError), (stumble, Defect)):
            with pytest.raises(error):
                call(as_task(function, "the task"))
        assert end_flow(refuse).name == "BadInput"
        name_run("nothing")
        assert run_id() != run_id()
        assert len(client.read_task_runs()) == before
