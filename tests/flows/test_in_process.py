"""Flows in this very process: recorded where a server answers; told and unhindered where none does, or it hangs."""

import logging
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed
from prefect.testing.utilities import prefect_test_harness

from flows.in_process import PATIENCE, run_flow, why_unrecorded
from tasks.defects import Defect
from tasks.outcome import as_task, call, end_flow, is_recorded
from unilogit.errors import InputError, TemporaryError

SECRET = "Zebulon Quark"
NOWHERE = "http://127.0.0.1:9/api"


def work(word):
    print("the step says", word.upper(), sep=": ")
    return word


def refuse(word):
    raise InputError("a.jsonl:1: is bad", "correct it")


def vanish(word):
    raise TemporaryError("MLflow does not answer")


def stumble(word):
    raise KeyError(word)


@flow(name="told", log_prints=True)
def told(path: str, what: str = "work"):
    """Take a path, which may name somebody."""

    def body():
        print(f"recorded: {is_recorded()}")
        result = call(as_task(globals()[what], "a step"), "word")
        return Completed(name="Done", data=result, message="all is well")

    return end_flow(body)


@contextmanager
def server_at(url):
    with temporary_settings(updates={PREFECT_API_URL: url}):
        yield


@pytest.fixture(scope="module")
def server():
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))


def test_where_a_server_answers_the_run_is_recorded_and_printed_as_ever(server, capsys):
    assert why_unrecorded() is None
    assert run_flow(told, SECRET) == 0
    out, err = capsys.readouterr()
    assert out == "recorded: True\nthe step says: WORD\nall is well\n"
    assert err == ""
    with get_client(sync_client=True) as client:
        [run] = client.read_flow_runs()
        [step] = client.read_task_runs()
        log = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
    assert (run.state.name, run.state.message, run.tags) == ("Done", "all is well", ["unilogit run"])
    assert run.parameters == {}
    assert step.name.startswith("a step")
    lines = [(entry.message, entry.task_run_id) for entry in log]
    assert ("recorded: True", None) in lines
    assert ("the step says: WORD", step.id) in lines
    assert not [line for line, _ in lines if SECRET in line]
    print("afterwards")
    assert capsys.readouterr().out == "afterwards\n"
    assert logging.getLogger("prefect").propagate


@pytest.fixture(params=[True, False], ids=["recorded", "not recorded"])
def anywhere(server, request):
    """Once where a server answers, once where none does."""
    with server_at(PREFECT_API_URL.value() if request.param else NOWHERE):
        yield


def nothing(word):
    return None


def test_what_ends_well_without_a_result_ends_well(anywhere, capsys):
    assert run_flow(told, SECRET, "nothing") == 0
    assert capsys.readouterr().out.endswith("all is well\n")


def test_bad_input_is_a_line_a_problem(anywhere, capsys):
    assert run_flow(told, SECRET, "refuse") == 2
    assert capsys.readouterr().err == "error: a.jsonl:1: is bad\nerror: correct it\n"


def test_what_may_pass_is_a_line_and_another_exit_code(capsys):
    with server_at(NOWHERE):
        assert run_flow(told, SECRET, "vanish") == 75
    assert capsys.readouterr().err == "error: MLflow does not answer\n"


def test_a_defect_is_raised(anywhere):
    with pytest.raises(Defect, match=r"a defect of unilogit: KeyError at tests/flows/test_in_process\.py:") as raised:
        run_flow(told, SECRET, "stumble")
    assert isinstance(raised.value.__cause__, KeyError)


def test_where_none_answers_the_run_says_so_and_goes_on(capsys):
    with server_at(NOWHERE):
        assert run_flow(told, SECRET) == 0
    out = capsys.readouterr().out
    first, *rest = out.splitlines()
    assert first == "Prefect does not record this run: no server answers at http://127.0.0.1:9/api (ConnectError)"
    assert rest == ["recorded: False", "the step says: WORD", "all is well"]
    with server_at(None):
        assert why_unrecorded() == "neither PREFECT_API_URL nor prefect.toml names a server"


def test_a_server_that_hangs_does_not_hang_the_run(capsys):
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        with server_at(f"http://127.0.0.1:{hanging.getsockname()[1]}/api"):
            begin = time.monotonic()
            assert run_flow(told, SECRET) == 0
            assert time.monotonic() - begin < PATIENCE + 3
    assert "(ReadTimeout)" in capsys.readouterr().out


def test_another_programs_server_is_none_of_prefects():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer():
            connection, _ = other.accept()
            with connection:
                connection.recv(9999)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with server_at(f"http://127.0.0.1:{other.getsockname()[1]}/api"):
            assert "no server answers at" in why_unrecorded()
