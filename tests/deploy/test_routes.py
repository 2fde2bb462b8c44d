"""With credentials set, every route of both servers refuses a stranger: over the list of routes that each server has.

What stays open by the servers' own design is named here, each with its reason, and shown to tell nothing.
"""

import base64
import json
import subprocess
import sys
import uuid
from http.client import HTTPConnection

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.deploy.routes import METHODS, Route
from tests.deploy.servers import running_mlflow, running_prefect
from tests.deploy.settings import ROOT, clean_environment, make_credentials

pytestmark = pytest.mark.slow

SECRET = f"planted-{uuid.uuid4().hex}"
OPEN = {
    "prefect": {
        "/api/health": "probes ask without a password: `true`",
        "/api/ready": "so do these: whether the database answers",
        "/": "the files of the user interface, which asks for the password itself",
        "/ui-settings": "where the interface finds the server, and that it wants a password",
        "/openapi.json": "what routes there are: the same for every server of this version",
        "/docs": "a page that shows openapi.json",
        "/docs/oauth2-redirect": "a page of /docs",
        "/redoc": "another page that shows openapi.json",
    },
    "mlflow": {
        "/health": "probes ask without a password: `OK`",
        "/static-files/": "the files of the user interface",
        "/api/3.0/mlflow/server-info": "what the server can do: clients ask before they log in",
        "/ajax-api/3.0/mlflow/server-info": "the same",
    },
}
FILES = {"prefect": "/v2/", "mlflow": "/static-files/"}  # below these, and nowhere else, files are handed out


class Server:
    """A server with a password: its name, its address, how to log in, and its routes."""

    def __init__(self, name: str, url: str, login: tuple[str, str], environment: dict[str, str]) -> None:
        self.name, self.url, self.login = name, url, login
        command = [sys.executable, "-m", "tests.deploy.routes", name]
        printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        self.routes = [
            Route(path, tuple(methods), is_socket) for path, methods, is_socket in json.loads(printed.stdout)
        ]

    def client(self, login: tuple[str, str] | None) -> httpx.Client:
        return httpx.Client(base_url=self.url, auth=login, trust_env=False, timeout=30)

    def is_open(self, path: str) -> bool:
        return path in OPEN[self.name] or path.startswith(FILES[self.name])


@pytest.fixture(scope="module", params=["prefect", "mlflow"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "home"
    credentials = make_credentials(folder.parent / ".env")
    environment = clean_environment() | credentials
    username, password = credentials["PREFECT_API_AUTH_STRING"].split(":")
    if request.param == "mlflow":
        username, password = (credentials[f"MLFLOW_TRACKING_{name}"] for name in ("USERNAME", "PASSWORD"))
    start = {"prefect": running_prefect, "mlflow": running_mlflow}[request.param]
    asking = environment | {
        "PREFECT_HOME": str(folder),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "mlflow_auth.ini"),
        "_MLFLOW_SGI_NAME": "uvicorn",  # as the server tells its own workers
    }
    with start(folder, environment) as url:
        server = Server(request.param, url, (username, password), asking)
        with server.client(server.login) as ours:
            plant(server, ours)
        yield server


def plant(server, client):
    """Put a secret where each server keeps what it is told."""
    if server.name == "prefect":
        assert client.post("/api/flows/", json={"name": SECRET}).status_code == 201
        assert client.post("/api/variables/", json={"name": "planted", "value": SECRET}).status_code == 201
    else:
        for thing in ("experiments", "registered-models"):
            assert client.post(f"/api/2.0/mlflow/{thing}/create", json={"name": SECRET}).status_code == 200


def wrong_logins(server):
    username, password = server.login
    return [(username, ""), (username, password[:-1]), ("", password), ("admin", "password1234"), ("admin", "password")]


def test_every_route_refuses_a_stranger_by_every_method(server):
    refused = 0
    with server.client(None) as stranger:
        for route in server.routes:
            for method in METHODS if not server.is_open(route.path) else ():
                answer = stranger.request(method, route.path)
                assert answer.status_code == 401, f"{method} {route.path}: {answer.status_code}"
                refused += 1
    print(f"{server.name}: {len(server.routes)} routes, {refused} requests refused")
    assert refused > 1000, "this is no list of a server's routes"


def test_every_route_refuses_a_wrong_password(server):
    for login in wrong_logins(server):
        with server.client(login) as stranger:
            for route in server.routes[:: 10 if server.name == "mlflow" else 1]:  # each is hashed, which takes its time
                if not server.is_open(route.path) and route.methods:
                    answer = stranger.request(route.methods[0], route.path)
                    assert answer.status_code == 401, f"{login} {route}: {answer.status_code}"


def test_other_spellings_of_a_route_are_refused_too(server):
    path = {"prefect": "/api/flows/filter", "mlflow": "/api/2.0/mlflow/experiments/search"}[server.name]
    spellings = [
        *(f"{path}/", f"/{path}", path.replace("/", "//"), f"{path}%2F", f"{path}?x=/health", f"{path};/health"),
        *(f"/health/..{path}", f"/static-files/..{path}", f"/api/health/..{path}", f"/api/ready/..{path}"),
        *(path.upper(), f"{path}#/health", path.replace("/mlflow/", "/./mlflow/"), f"{path}/health"),
    ]
    for spelling in spellings:
        for method in ("GET", "POST"):
            status, text = ask(server, method, spelling)
            assert SECRET not in text, f"{method} {spelling}"
            is_page = "<html" in text  # of the interface, whatever is asked for that is no route
            assert status in (307, 308, 401, 404, 405) or is_page, f"{method} {spelling}: {status}"


def ask(server, method, spelling):
    """Ask for a path as it is spelt, which no client of HTTP would."""
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    try:
        connection.putrequest(method, spelling)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def test_what_is_open_tells_nothing(server):
    with server.client(None) as stranger:
        for path in OPEN[server.name]:
            answer = stranger.get(path, follow_redirects=True)
            for told in (SECRET, *server.login, base64.b64encode(":".join(server.login).encode()).decode()):
                assert told not in answer.text.replace("unilogit", ""), path


def test_whoever_logs_in_is_let_in(server):
    paths = {
        "prefect": ["/api/flows/filter", "/api/variables/filter", "/api/work_pools/filter"],
        "mlflow": ["/api/2.0/mlflow/experiments/search", "/api/2.0/mlflow/runs/search"],
    }[server.name]
    with server.client(server.login) as ours:
        for path in paths:
            answer = ours.post(path, json={"max_results": 5} if server.name == "mlflow" else {})
            assert answer.status_code in (200, 400), f"{path}: {answer.status_code} {answer.text}"


def test_every_web_socket_refuses_a_stranger(server):
    sockets = [route.path for route in server.routes if route.is_socket]
    assert len(sockets) == {"prefect": 5, "mlflow": 0}[server.name]
    token = ":".join(server.login)
    for path in sockets:
        url = server.url.replace("http://", "ws://") + path
        for subprotocols, message in (
            ([], None),
            (["prefect"], {"type": "subscribe"}),
            (["prefect"], {"type": "auth"}),
            (["prefect"], {"type": "auth", "token": token[:-1]}),
        ):
            with pytest.raises((ConnectionClosed, InvalidStatus)):
                talk(url, subprotocols, message)
        assert talk(url, ["prefect"], {"type": "auth", "token": token})["type"] in ("auth_success", "ready")


def talk(url, subprotocols, message):
    """What a socket says first, to who says `message` first."""
    with connect(url, subprotocols=subprotocols or None, proxy=None, open_timeout=10) as socket:
        if message:
            socket.send(json.dumps(message))
        return json.loads(socket.recv(timeout=10))
