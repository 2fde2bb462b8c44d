"""Run the flow in this process and list every write under UNILOGIT_HOME; kill the process at one of them if told to.

    python killed_flow.py LOG [NUMBER]

Files are seen by Python's audit events (opening for writing, renaming, linking, removing, making folders), databases
by their commits. LOG gets a line a write; at the write NUMBER (from 0) the process kills itself, before it is done.
Prefect's own state is left out: it is no part of what a run keeps.
"""

import os
import signal
import sys
from pathlib import Path

HOME = Path("var").absolute()
LEFT_OUT = (str(HOME / "prefect"), str(HOME / "unlearn.lock"), str(HOME / "example"))
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Counter:
    """Notes writes, and kills at one of them."""

    def __init__(self, log: int, number: int | None) -> None:
        self.log, self.number, self.count, self.busy = log, number, 0, False

    def note(self, event: str, path: object) -> None:
        if self.busy or not isinstance(path, str | os.PathLike):
            return
        name = str(Path(path).absolute()) if not isinstance(path, bytes) else ""
        if not name.startswith(str(HOME)) or name.startswith(LEFT_OUT) or name.endswith((".pyc", "-journal", "-wal")):
            return
        self.busy = True
        if self.count == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        os.write(self.log, f"{event} {name.removeprefix(str(HOME))}\n".encode())
        self.busy = False

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(int(flags) & WRITING)
            if writes:
                self.note("open", path)
        elif event in WRITES:
            self.note(event, arguments[0])


def main() -> int:
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    counter = Counter(log, int(sys.argv[2]) if len(sys.argv) > 2 else None)

    import sqlalchemy as sa

    from flows.unlearn import run_in_process

    @sa.event.listens_for(sa.engine.Engine, "commit")
    def commit(connection: sa.Connection) -> None:
        counter.note("commit", connection.engine.url.database)

    sys.addaudithook(counter.audit)
    return run_in_process(None, Path("params.yaml"))


if __name__ == "__main__":
    sys.exit(main())
