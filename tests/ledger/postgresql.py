"""A PostgreSQL server of the tests' own, on loopback, in a folder that goes with it."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
HOW_TO_INSTALL = "PostgreSQL is not installed: `apt-get install postgresql`, or put initdb and pg_ctl on the PATH"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them off the PATH."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((file.parent for file in installed), key=lambda folder: float(folder.parent.name), default=None)


class Cluster:
    """Databases in a folder of their own, which a server may be started on, by root as well.

    Attributes:
        folder: removed by `remove`.
        data: what PostgreSQL calls its data directory.
        url: of the first database.
        as_user: what a command begins with so that its user may run it: PostgreSQL refuses root.
        server: the command that serves it until it is ended.
    """

    def __init__(self, folder_of_programs: Path) -> None:
        self._programs = folder_of_programs
        self.folder = Path(tempfile.mkdtemp(prefix="unilogit-postgresql-"))
        runuser = shutil.which("runuser") or "/usr/sbin/runuser"  # which not every PATH has
        self.as_user = [runuser, "-u", USER, "--"] if os.getuid() == 0 else []
        if self.as_user:
            shutil.chown(self.folder, USER)
        self.data, self._log = self.folder / "data", self.folder / "log"
        self._call("initdb", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # No fsync: its machine does not lose power here.
        self._options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(self.folder), "-F"]
        self.url = f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
        self.server = [str(self._programs / "postgres"), "-D", str(self.data), *self._options]

    def start(self) -> None:
        self._call("pg_ctl", "-w", "-l", str(self._log), "-o", " ".join(self._options), "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self.as_user, str(self._programs / program), "-D", str(self.data), *arguments]
        answer = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if answer.returncode:
            server_log = self._log.read_text() if self._log.exists() else ""
            raise RuntimeError(f"{program}: {answer.stdout}{answer.stderr}{server_log}")


@contextmanager
def running_server(folder_of_programs: Path) -> Iterator[str]:
    """Start a server and stop it at the end.

    Yields:
        The URL of its database.
    """
    cluster = Cluster(folder_of_programs)
    try:
        cluster.start()
        try:
            yield cluster.url
        finally:
            cluster.stop()
    finally:
        cluster.remove()
