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


@contextmanager
def running_server(folder_of_programs: Path) -> Iterator[str]:
    """Start a server and stop it at the end.

    Yields:
        The URL of its database.
    """
    folder = Path(tempfile.mkdtemp(prefix="unilogit-postgresql-"))
    runuser = shutil.which("runuser") or "/usr/sbin/runuser"  # which not every PATH has
    as_user = [runuser, "-u", USER, "--"] if os.getuid() == 0 else []  # it refuses to be run by root
    if as_user:
        shutil.chown(folder, USER)
    data, log = folder / "data", folder / "log"

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, str(folder_of_programs / program), "-D", str(data), *arguments]
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if answer.returncode:
            server_log = log.read_text() if log.exists() else ""
            raise RuntimeError(f"{program}: {answer.stdout}{answer.stderr}{server_log}")

    try:
        call("initdb", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-h 127.0.0.1 -p {port} -k {folder} -F"  # no fsync: its machine does not lose power here
        call("pg_ctl", "-w", "-l", str(log), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
