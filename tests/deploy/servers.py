"""Servers that a test needs: started with all that they start, ended with it."""

import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.deploy.settings import DEPLOY, ROOT
from tests.ledger.postgresql import HOW_TO_INSTALL, programs, running_server


def free_port(further: tuple[int, ...] = ()) -> int:
    """A port that is free, as are those that lie so much further; none that the system gives to what connects."""
    for _ in range(100):
        port = random.randrange(11_000, 22_000)
        if all(_is_free(port + step) for step in (0, *further)):
            return port
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


@contextmanager
def running(
    command: list[str | Path], environment: dict[str, str], log: Path, folder: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with all that it starts, until the block ends."""
    with open(log, "ab") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def answering(
    command: list[str | Path], environment: dict[str, str], log: Path, url: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when `url` answers."""
    with running(command, environment, log) as process:
        deadline = time.monotonic() + 120
        while (status := answer(url)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} does not answer at {url}:\n{log.read_text()[-4000:]}")
            time.sleep(0.2)
        assert status == 200, f"{url} answers {status}"
        yield process


def answer(url: str) -> int | None:
    """The status with which a server answers; None while nobody does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


@contextmanager
def running_store(folder: Path, environment: dict[str, str], host: str, *options: str) -> Iterator[str]:
    """The S3 store of deploy/store.sh; gives its address."""
    port = free_port((1, 2, 3, 10000, 10001, 10002, 10003))
    command = [DEPLOY / "store.sh", folder, host, str(port), *options]
    with answering(command, environment, folder.with_suffix(".log"), f"http://{host}:{port}/healthz"):
        yield f"http://{host}:{port}"


@contextmanager
def running_prefect(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Prefect's server, with its state in a folder; gives its address."""
    port = free_port()
    environment = environment | {"PREFECT_HOME": str(folder), "PREFECT_UI_STATIC_DIRECTORY": str(folder / "ui")}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with answering(command, environment, folder.with_suffix(".log"), f"http://127.0.0.1:{port}/api/ready"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running_mlflow(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """MLflow's server, started as everything here does, with its state in a folder; gives its address."""
    port = free_port()
    command = [ROOT / "mlflow" / "serve.sh", "127.0.0.1", str(port), folder]
    with answering(["bash", *command], environment, folder.with_suffix(".log"), f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running_database(password: str) -> Iterator[int]:
    """A PostgreSQL server that asks everybody for a password, its administrator `postgres` for this one; its port."""
    folder = programs()
    if folder is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW_TO_INSTALL)
    with running_server(folder) as url:
        port = urlsplit(url).port
        assert port
        with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as connection:
            connection.execute(f"ALTER ROLE postgres PASSWORD '{password}'")
            rules = connection.execute("SHOW hba_file").fetchone()
            assert rules
            Path(rules[0]).write_text("host all all 127.0.0.1/32 scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        yield port
