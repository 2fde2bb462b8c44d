"""`unilogit up`: servers, worker and deployments on this machine, on loopback, kept running until a signal comes.

Says what runs and in which order; knows nothing of what the flows do.
"""

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import httpx
from cryptography.fernet import Fernet
from filelock import FileLock, Timeout

from flows.processes import end, marked, new_token
from flows.supervisor import Child, Supervisor
from tasks.doctor import PREFECT_PORT, answers, mlflow_address, prefect_address, webhook_address
from tasks.registry.connection import make_database
from tasks.workspace import keys_folder, mlflow_database, use_home
from unilogit.errors import InputError, TemporaryError
from unilogit.files import private_folder, read_json, write_json, write_text

HOST = "127.0.0.1"
_LOOK = 15  # seconds between two looks at what is stuck
_PAUSES = (2, 4, 8, 16, 32)  # seconds
_WORKER_PATIENCE = 30  # seconds for the worker to hand its runs back


def up() -> int:
    """Start everything and look after it until a signal comes.

    Returns:
        The exit code: 0 after a signal.

    Raises:
        InputError: it is up already, a port is taken, or a server does not come up.
        TemporaryError: Prefect has come up, but does not take the deployments.
    """
    prefect, mlflow = prefect_address(), mlflow_address()
    addresses = {"PREFECT": prefect, "MLFLOW": mlflow, "WEBHOOK": webhook_address()}
    ports = {f"UNILOGIT_{server}_PORT": _port(address) for server, address in addresses.items()}
    home = use_home()
    with _alone(home, prefect, mlflow), suppress(KeyboardInterrupt):
        _raise_on_signals()
        if orphans := end(entry.process for entry in marked(home)):
            _say(f"ended {orphans} processes that an earlier `unilogit up` had left behind")
        for variable, port in ports.items():
            _need_free(port, variable)
        os.environ.update(_environment(home, prefect, mlflow))
        if "MLFLOW_BACKEND_STORE_URI" not in os.environ:
            make_database(mlflow_database())
        supervisor = Supervisor(home, new_token(), os.environ, _say)
        try:
            _run(supervisor, home, prefect, mlflow)
        finally:
            _stop(supervisor, home, f"{prefect}/api")
    return 0


def _run(supervisor: Supervisor, home: Path, prefect: str, mlflow: str) -> None:
    """Start the children, then look after them for ever."""
    python, api = sys.executable, f"{prefect}/api"
    prefect_command = str(Path(python).with_name("prefect"))
    supervisor.start(Child("guard", (python, "-m", "flows.guard", str(home), supervisor.token), holds_pipe=True))
    mlflow_command = ("bash", "mlflow/serve.sh", HOST, str(_port(mlflow)), str(home))
    supervisor.start(Child("mlflow", mlflow_command, partial(answers, f"{mlflow}/health")))
    server_command = (prefect_command, "server", "start", "--host", HOST, "--port", str(_port(prefect)))
    supervisor.start(Child("prefect", server_command, partial(answers, f"{api}/health")))
    print("waiting for Prefect …", flush=True)
    supervisor.wait_for("prefect")

    from flows.deployments import deploy  # from here on: Prefect takes seconds to import
    from flows.runs import POOL, prefect_client
    from flows.stuck import Janitor

    janitor = Janitor(home, _say)

    def prepare() -> None:
        deploy(api)
        with prefect_client(api) as client:
            janitor.tidy(client, grace=timedelta(0))  # there is no worker yet: whatever is at work has no process

    _insist(prepare, supervisor, prefect)
    worker_command = (prefect_command, "worker", "start", "--pool", POOL, "--name", "local", "--with-healthcheck")
    worker_health = f"http://{HOST}:{os.environ['PREFECT_WORKER_WEBSERVER_PORT']}/health"
    supervisor.start(Child("worker", worker_command, partial(answers, worker_health)))
    receiver_health = partial(answers, f"{webhook_address()}/health")
    supervisor.start(Child("receiver", (python, "-m", "flows.receiver"), receiver_health))
    print("waiting for MLflow, the worker and the receiver of MLflow's webhooks …", flush=True)
    for name in ("mlflow", "worker", "receiver"):
        supervisor.wait_for(name)
    print(_greeting(supervisor.log("worker").parent, prefect, mlflow), flush=True)
    look = time.monotonic()
    while True:
        supervisor.tend()
        if time.monotonic() > look:
            with suppress(httpx.HTTPError), prefect_client(api) as client:  # a server that is down is tended already
                janitor.tidy(client)
            look = time.monotonic() + _LOOK
        time.sleep(1)


def _insist(work: Callable[[], None], supervisor: Supervisor, server: str) -> None:
    """Do what can be repeated, until the server has answered all of it.

    Raises:
        TemporaryError: it does not.
    """
    for pause in _PAUSES:
        try:
            return work()
        except httpx.HTTPError as error:
            _say(f"Prefect at {server} does not answer ({type(error).__name__}); tried again in {pause} s")
        supervisor.tend()
        time.sleep(pause)
    raise TemporaryError(f"Prefect at {server} answers its health check and nothing else; see its log")


def _stop(supervisor: Supervisor, home: Path, api: str) -> None:
    """End every child with all that it started: the worker first, so that its runs are handed back."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if "worker" in supervisor.children:
        from flows.runs import prefect_client
        from flows.stuck import Janitor

        supervisor.end("worker", _WORKER_PATIENCE)
        with suppress(httpx.HTTPError), prefect_client(api) as client:
            Janitor(home, _say).tidy(client, grace=timedelta(0))
    for name in [*reversed(supervisor.children)]:
        supervisor.end(name, patience=10)


def _environment(home: Path, prefect: str, mlflow: str) -> dict[str, str]:
    """What the children are told; whatever else is set is theirs, too."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "UNILOGIT_HOME": str(home),
        "PREFECT_API_URL": f"{prefect}/api",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(_port(prefect)),
        # On disk, so that a server that was killed knows which slots are taken, and takes them back in time.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # Or who watches a run (`prefect deployment run … --watch`) sees its states alone, and not why it ended so.
        "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true",
        "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_WORKER_WEBSERVER_HOST": HOST,
        "PREFECT_WORKER_WEBSERVER_PORT": str(_free_port()),
        "MLFLOW_TRACKING_URI": mlflow,
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",  # the receiver listens on loopback
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": _webhook_key(),
    }


def _webhook_key() -> str:
    """With which MLflow encrypts the secrets of its webhooks in its database; made once."""
    file = private_folder(keys_folder()) / "mlflow-webhooks.key"
    if not file.exists():
        write_text(file, Fernet.generate_key().decode())
    return file.read_text(encoding="utf-8").strip()


@contextmanager
def _alone(home: Path, prefect: str, mlflow: str) -> Iterator[None]:
    """The only `unilogit up` of this home.

    Raises:
        InputError: there is one already.
    """
    told = home / "up.json"
    try:
        with FileLock(home / "up.lock", timeout=0):
            write_json(told, {"process": os.getpid(), "prefect": prefect, "mlflow": mlflow})
            yield
            told.unlink(missing_ok=True)
    except Timeout:
        living = read_json(told) if told.exists() else {}
        where = f": Prefect {living['prefect']}  MLflow {living['mlflow']}" if living else ""
        how = f" (`kill {living['process']}`)" if living else ""
        raise InputError(f"it is up already{where}; end it first{how}, or choose another UNILOGIT_HOME") from None


def _greeting(logs: Path, prefect: str, mlflow: str) -> str:
    """What to do next; the commands work as printed in a terminal like this one."""
    command = Path(sys.executable).with_name("prefect")
    name = "prefect" if shutil.which("prefect", path=_path_before) == str(command) else str(command)
    where = "" if _port(prefect) == PREFECT_PORT else f"PREFECT_API_URL={prefect}/api "
    return (
        f"Up. Prefect {prefect}  MLflow {mlflow}  logs {logs}\n"
        f"In another terminal: {where}{name} deployment run unlearn/production --watch\n"
        "Ctrl-C ends them all."
    )


_path_before = os.environ.get("PATH", "")


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}", flush=True)


def _port(url: str) -> int:
    try:
        return urlsplit(url).port or 0
    except ValueError:
        raise InputError(
            f"{url}: no port to listen on; set UNILOGIT_PREFECT_PORT, UNILOGIT_MLFLOW_PORT and UNILOGIT_WEBHOOK_PORT"
            " to numbers"
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _raise_on_signals() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may have started us with SIGINT ignored
        signal.signal(number, interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` asks
        signal.signal(signal.SIGHUP, interrupt)
