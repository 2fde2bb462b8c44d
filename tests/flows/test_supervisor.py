"""Children are real processes: they die, stop, leave others behind; and so does the one that looks after them."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from flows import supervisor as module
from flows.processes import end, mark, marked, new_token
from flows.supervisor import Child, Supervisor
from unilogit.errors import InputError

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(600)
"""
SERVER = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1")
UP = """
import os, sys, time
from pathlib import Path
from flows.supervisor import Child, Supervisor
home, parent = sys.argv[1:]
supervisor = Supervisor(Path(home), "token", os.environ, print)
supervisor.start(Child("guard", (sys.executable, "-m", "flows.guard", home, "token"), holds_pipe=True))
supervisor.start(Child("worker", (sys.executable, "-c", parent)))
while True:
    supervisor.tend()
    time.sleep(0.1)
"""


@pytest.fixture
def home(tmp_path):
    yield tmp_path
    end(entry.process for entry in marked(tmp_path))


@pytest.fixture
def said():
    return []


@pytest.fixture
def supervisor(home, said):
    return Supervisor(home, new_token(), os.environ, said.append)


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)


def children(home):
    return sorted(entry.child for entry in marked(home))


def test_processes_are_told_apart_by_home_token_and_child(home):
    for folder, token, child in ((home, "one", "a"), (home, "one", "b"), (home, "two", "a"), (home / "x", "one", "a")):
        subprocess.Popen(SLEEPER, env={**os.environ, **mark(folder, token, child)})
    wait_until(lambda: len(marked(home)) == 3)
    assert [len(marked(home, "one")), len(marked(home, "one", "a")), len(marked(home, child="a"))] == [2, 1, 2]
    assert end(entry.process for entry in marked(home, "one")) == 2
    assert [entry.token for entry in marked(home)] == ["two"]
    assert end(entry.process for entry in marked(home / "x")) == 1


def test_a_stopped_process_is_ended_too(home):
    process = subprocess.Popen(SLEEPER, env={**os.environ, **mark(home, "t", "a")})
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    begin = time.monotonic()
    end([entry.process for entry in marked(home)])
    assert time.monotonic() - begin < 5
    assert not psutil.pid_exists(process.pid)


def test_a_child_that_dies_is_started_again_and_what_it_left_behind_is_ended(supervisor, home, said):
    supervisor.start(Child("worker", (sys.executable, "-c", PARENT)))
    wait_until(lambda: len(marked(home)) == 2)
    supervisor.wait_for("worker")
    first = {entry.process.pid for entry in marked(home)}
    os.kill(supervisor.children["worker"].process.pid, signal.SIGKILL)

    def renewed():
        supervisor.tend()
        living = {entry.process.pid for entry in marked(home)}
        return len(living) == 2 and not living & first

    wait_until(renewed)
    assert len(said) == 1
    assert said[0].startswith("worker ended with code -9; it is started again in 1 s")
    supervisor.end("worker", 5)
    assert marked(home) == []


def test_the_pauses_grow_and_a_child_that_never_comes_up_ends_it_all(supervisor, said, monkeypatch):
    monkeypatch.setattr(module, "FRUITLESS", 3)
    supervisor.start(Child("broken", (sys.executable, "-c", "raise SystemExit(3)"), lambda: False))
    with pytest.raises(InputError, match=r"broken ended with code 3, 3 times, and never came up; see .*broken.log"):
        supervisor.wait_for("broken")
    assert [line.partition(" (see")[0] for line in said] == [
        "broken ended with code 3; it is started again in 1 s",
        "broken ended with code 3; it is started again in 2 s",
    ]


def test_a_child_that_does_not_answer_any_more_is_replaced(supervisor, home, said, monkeypatch, free_port):
    monkeypatch.setattr(module, "_CHECK", 0.1)

    def answers():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=0.3).status == 200
        except OSError:
            return False

    supervisor.start(Child("server", (*SERVER, str(free_port)), answers))
    supervisor.wait_for("server")
    stopped = supervisor.children["server"].process
    stopped.send_signal(signal.SIGSTOP)
    wait_until(lambda: supervisor.tend() or said)
    assert said[0].startswith("server does not answer any more")
    supervisor.wait_for("server")
    assert answers()
    assert stopped.poll() == -signal.SIGKILL
    supervisor.end("server", 5)


def test_a_child_is_asked_to_end_before_it_is_killed(supervisor, home, tmp_path):
    script = "import signal, sys, time; signal.signal(15, lambda *_: open(sys.argv[1], 'w').close() or sys.exit()); "
    command = (sys.executable, "-c", script + "open(sys.argv[2], 'w').close(); time.sleep(600)")
    told, ready = tmp_path / "told", tmp_path / "ready"
    supervisor.start(Child("polite", (*command, str(told), str(ready))))
    wait_until(ready.exists)
    supervisor.end("polite", 5)
    assert told.exists()
    deaf = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)"
    ready.unlink()
    supervisor.start(Child("deaf", (sys.executable, "-c", deaf, str(ready))))
    wait_until(ready.exists)
    supervisor.end("deaf", 0.5)
    assert marked(home) == []


def test_when_the_supervisor_is_killed_nothing_is_left(home):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(home), PARENT], env=environment, stdout=subprocess.DEVNULL
    )
    wait_until(lambda: children(home) == ["guard", "worker", "worker"])
    process.kill()
    process.wait()
    wait_until(lambda: marked(home) == [], seconds=30)
