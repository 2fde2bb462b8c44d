"""Servers, worker and deployments on this machine, on loopback, in one terminal; Ctrl-C ends them all.

Starts what exists (Prefect, MLflow) and waits until each answers; knows nothing of what the flows do.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from tasks.doctor import answers, mlflow_address, prefect_address
from tasks.registry.connection import make_database
from tasks.workspace import mlflow_database, use_home
from unilogit.errors import InputError

HOST = "127.0.0.1"
POOL = "unilogit"
PATIENCE = 180  # seconds for a server to answer


def up() -> int:
    """Start everything and stay until a signal comes or a server dies.

    Returns:
        The exit code: 0 after a signal, 1 when a server ended by itself.

    Raises:
        InputError: a port is taken, or a server does not come up.
    """
    prefect, mlflow = prefect_address(), mlflow_address()
    prefect_port, mlflow_port = (_port(url) for url in (prefect, mlflow))
    for port, variable in ((prefect_port, "UNILOGIT_PREFECT_PORT"), (mlflow_port, "UNILOGIT_MLFLOW_PORT")):
        _need_free(port, variable)
    folder = use_home()
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    make_database(mlflow_database())
    api = f"{prefect}/api"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "UNILOGIT_HOME": str(folder),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(prefect_port),
        "MLFLOW_TRACKING_URI": mlflow,
    }
    servers: dict[str, subprocess.Popen[bytes]] = {}

    def start(name: str, *command: str) -> None:
        with open(logs / f"{name}.log", "ab") as log:
            servers[name] = subprocess.Popen(
                command,
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    _raise_on_signal()
    try:
        start("mlflow", "bash", "mlflow/serve.sh", HOST, str(mlflow_port), str(folder))
        start("prefect", "prefect", "server", "start", "--host", HOST, "--port", str(prefect_port))
        _wait("Prefect", f"{api}/health", servers, logs)
        for command in (
            ("work-pool", "create", POOL, "--type", "process", "--overwrite"),
            ("--no-prompt", "deploy", "--all"),
        ):
            _prefect(command, environment)
        start("worker", "prefect", "worker", "start", "--pool", POOL, "--name", "local")
        _wait("MLflow", f"{mlflow}/health", servers, logs)
        print(
            f"Up. Prefect {prefect}  MLflow {mlflow}  logs {logs}\n"
            "In another terminal: prefect deployment run unlearn/production --watch\n"
            "Ctrl-C ends them all.",
            flush=True,
        )
        while all(server.poll() is None for server in servers.values()):
            time.sleep(1)
        dead = next(name for name, server in servers.items() if server.poll() is not None)
        print(f"error: {dead} ended by itself; see {logs / dead}.log", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(servers)


def _port(url: str) -> int:
    try:
        return urlsplit(url).port or 0
    except ValueError:
        raise InputError(
            f"{url}: no port to listen on; set UNILOGIT_PREFECT_PORT and UNILOGIT_MLFLOW_PORT to numbers"
        ) from None


def _need_free(port: int, variable: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise InputError(
                f"port {port} is taken; end what listens there, or choose another with {variable}"
            ) from None


def _raise_on_signal() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may have started us with SIGINT ignored
        signal.signal(number, interrupt)


def _wait(title: str, url: str, servers: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    print(f"waiting for {title} …", flush=True)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for name, server in servers.items():
            if server.poll() is not None:
                raise InputError(f"{name} ended with code {server.returncode}; see {logs / name}.log")
        if answers(url):
            return
        time.sleep(0.5)
    raise InputError(f"{title} does not answer at {url} after {PATIENCE} seconds; see {logs}")


def _prefect(command: tuple[str, ...], environment: dict[str, str]) -> None:
    done = subprocess.run(
        ("prefect", *command),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"`prefect {' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}")


def _stop(servers: dict[str, subprocess.Popen[bytes]]) -> None:
    """End every server with its children: the worker first, so that it can hand its run back."""
    for server in reversed(servers.values()):
        _signal_group(server, signal.SIGTERM)
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            _signal_group(server, signal.SIGKILL)
            server.wait()


def _signal_group(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    send: Callable[[int, int], None] = os.killpg
    try:
        send(server.pid, number)
    except ProcessLookupError:
        return
