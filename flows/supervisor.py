"""Children that are kept running: started again when they die or no longer answer, and ended together.

Knows nothing of what they are. An own one because those that exist do not fit: supervisord reloads on SIGHUP where the
death of a terminal must end all, honcho starts nothing again, circus has no backoff; and none ends what a killed child
leaves behind in sessions of its own, as flow runs are.
"""

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.processes import end, mark, marked
from unilogit.errors import InputError

PATIENCE = 300  # seconds for a child to come up
STEADY = 60  # seconds after which a child that lives is taken to be well
LONGEST_PAUSE = 60  # seconds before a child is started again; the first pause is one, each next one double
FRUITLESS = 5  # starts without ever having come up, after which nothing is tried any more
_CHECK = 10  # seconds between two looks at whether a child answers
_SILENT = 6  # looks in a row without an answer, after which it is started again


@dataclass
class Child:
    """What is kept running.

    Attributes:
        name: also of its log.
        command: how it is started.
        answers: whether it does its work; None where living is all that can be told.
        holds_pipe: its standard input is a pipe that this process holds, and never writes to.
        process: None while it is not running.
        has_been_up: it has answered, since this process began.
    """

    name: str
    command: tuple[str, ...]
    answers: Callable[[], bool] | None = None
    holds_pipe: bool = False
    process: subprocess.Popen[bytes] | None = None
    has_been_up: bool = False
    is_up: bool = False
    failures: int = 0
    silent: int = 0
    started: float = 0
    next_start: float = 0
    next_check: float = 0


@dataclass
class Supervisor:
    """Starts children, looks after them, ends them.

    Attributes:
        home, token: by which the children are marked.
        environment: theirs.
        say: tells what happens.
    """

    home: Path
    token: str
    environment: Mapping[str, str]
    say: Callable[[str], None]
    children: dict[str, Child] = field(default_factory=dict)

    def start(self, child: Child) -> None:
        """Start a child, which is looked after from now on."""
        self.children[child.name] = child
        self._start(child)

    def log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def tend(self) -> None:
        """One look at every child: what has died is started again after a pause, what does not answer is killed.

        Raises:
            InputError: a child never came up.
        """
        for child in self.children.values():
            now = time.monotonic()
            if child.process is None:
                if now >= child.next_start:
                    self._start(child)
            elif (code := child.process.poll()) is not None:
                self._bury(child, f"ended with code {code}")
            elif now >= child.next_check:
                child.next_check = now + (_CHECK if child.is_up else 0.5)
                self._check(child)

    def wait_for(self, name: str) -> None:
        """Look after the children until this one has come up.

        Raises:
            InputError: one of them never came up.
        """
        while not self.children[name].is_up:
            self.tend()
            time.sleep(0.2)

    def end(self, name: str, patience: float) -> None:
        """End a child and all that it started; it is not looked after any more."""
        child = self.children.pop(name)
        process = child.process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process is not None and process.stdin:
            process.stdin.close()
        self._end_rest(name)

    def _start(self, child: Child) -> None:
        log = self.log(child.name)
        log.parent.mkdir(exist_ok=True)
        with open(log, "ab") as stream:
            child.process = subprocess.Popen(
                child.command,
                env={**self.environment, **mark(self.home, self.token, child.name)},
                stdout=stream,
                stderr=stream,
                stdin=subprocess.PIPE if child.holds_pipe else subprocess.DEVNULL,
                start_new_session=True,  # the terminal's signals are for us, who end the children in order
            )
        child.started = child.next_check = time.monotonic()
        child.silent = 0

    def _check(self, child: Child) -> None:
        age = time.monotonic() - child.started
        if age > STEADY:
            child.failures = 0
        if child.answers is None or child.answers():
            child.is_up = child.has_been_up = True
            child.silent = 0
            return
        child.silent += 1
        if child.is_up and child.silent >= _SILENT:
            self._bury(child, "does not answer any more")
        elif not child.is_up and age > PATIENCE:
            why = f"does not answer after {PATIENCE} seconds"
            if not child.has_been_up:
                raise InputError(f"{child.name} {why}; see {self.log(child.name)}")
            self._bury(child, why)

    def _bury(self, child: Child, why: str) -> None:
        """End what is left of a child and plan its next start."""
        assert child.process is not None
        child.process.kill()
        child.process.wait()
        if child.process.stdin:
            child.process.stdin.close()
        child.process, child.is_up = None, False
        self._end_rest(child.name)
        child.failures += 1
        if not child.has_been_up and child.failures >= FRUITLESS:
            raise InputError(f"{child.name} {why}, {FRUITLESS} times, and never came up; see {self.log(child.name)}")
        pause = min(LONGEST_PAUSE, 2 ** (child.failures - 1))
        child.next_start = time.monotonic() + pause
        self.say(f"{child.name} {why}; it is started again in {pause} s (see {self.log(child.name)})")

    def _end_rest(self, name: str) -> None:
        """What a child started does not outlive it: its output goes nowhere, and a new child would meet it."""
        end(entry.process for entry in marked(self.home, self.token, name))
