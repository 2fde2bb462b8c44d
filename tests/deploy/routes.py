"""Every route of Prefect's and of MLflow's server, from their own applications; and whether one refuses a stranger.

Prints them as JSON, so that a test can ask a process of its own: the applications read the environment when they are
imported.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_PARAMETER = re.compile(r"\{[^}]*\}|<[^>]*>")


class Route(NamedTuple):
    """A path, as it is asked for, and how: the methods it is declared with, or a web socket."""

    path: str
    methods: tuple[str, ...]
    is_socket: bool = False


def prefect_routes() -> list[Route]:
    from prefect.server.api.server import create_app

    app = create_app(ignore_cache=True)
    return [*_asgi_routes(app.routes, "")]


def mlflow_routes() -> list[Route]:
    from mlflow.server import app as flask_app
    from mlflow.server.auth import create_app

    app = create_app(flask_app)
    flask = [Route(_example(rule.rule), _sorted(rule.methods)) for rule in flask_app.url_map.iter_rules()]
    return [*_asgi_routes(app.routes, ""), *flask]


def _asgi_routes(routes: Sequence["BaseRoute"], prefix: str) -> Iterator[Route]:
    from fastapi.routing import iter_route_contexts
    from starlette.routing import Mount

    for route in iter_route_contexts(routes):
        path = prefix + (route.path or "")
        if isinstance(route.original_route, Mount):
            yield Route(f"{path}/", ("GET",))
            yield from _asgi_routes(route.original_route.routes or [], path)
        else:
            yield Route(_example(path), _sorted(route.methods), is_socket=not route.methods)


def _example(path: str) -> str:
    return _PARAMETER.sub("00000000-0000-0000-0000-000000000000", path) or "/"


def _sorted(methods: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(sorted(methods or ()))


if __name__ == "__main__":
    routes = {"prefect": prefect_routes, "mlflow": mlflow_routes}[sys.argv[1]]()
    json.dump(sorted(set(routes)), sys.stdout)
