"""A real MLflow server, and one that only tells who asked it for what."""

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SERVE = Path(__file__).parents[3] / "mlflow" / "serve.sh"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(home: Path, *options: str) -> Iterator[str]:
    """mlflow/serve.sh on a home, with other options where they are given; gives the address."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = ["bash", str(SERVE), "127.0.0.1", str(port), str(home)]
    if options:
        database = f"sqlite:///{home}/mlflow.db"
        command = ["mlflow", "server", "--port", str(port), "--workers", "1", "--backend-store-uri", database, *options]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with open(home / "server.log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    (home / "server.pid").write_text(str(server.pid))
    try:
        wait_for(f"{uri}/health", server, home / "server.log")
        yield uri
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with direct.open(url, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(log.read_text())


@dataclass
class Answering:
    """A server that answers every question alike."""

    address: str
    paths: list[str] = field(default_factory=list)


@contextmanager
def answering(status: int = 200) -> Iterator[Answering]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answered.paths.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_CONNECT = do_GET

        def log_message(self, *words: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        answered = Answering(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield answered
        finally:
            server.shutdown()
