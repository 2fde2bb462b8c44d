"""The receiver of MLflow's webhook: as soon as somebody moves the alias champion, `reconcile/production` is run.

    python -m flows.receiver

Listens on loopback, at UNILOGIT_WEBHOOK_PORT. Registers itself with the MLflow server that MLFLOW_TRACKING_URI names
and starts the deployment through the Prefect server that PREFECT_API_URL names; GET /health answers 200. What it
misses, the schedule of reconcile/production does a little later. Knows nothing of what reconcile does.
"""

# ruff: noqa: E402 -- Prefect reads its settings when it is imported
from tasks.workspace import use_home, webhook_secret

use_home()

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import chain, repeat

import typer
import uvicorn
from prefect.deployments import arun_deployment
from prefect.settings import get_current_settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tasks.bad_input import tells_bad_input
from tasks.registry.webhook import concerns_champion, is_genuine, need_server, register_webhook
from unilogit.errors import InputError

HOST, PORT = "127.0.0.1", 5055
DEPLOYMENT = "reconcile/production"
_LONGEST = 100_000  # bytes of a message; MLflow's have some hundred
_BURST = 0.5  # seconds in which several messages are one
_PATIENCE = 300  # seconds for a run of the deployment to end
_PAUSES = (2, 4, 8, 16, 30)  # seconds between the first attempts; then a minute
log = logging.getLogger("unilogit.receiver")


class Receiver:
    """What the server keeps while it runs: the secret, and whether the champion was moved since it was looked at.

    Args:
        url: of `receive`, for MLflow.
    """

    def __init__(self, url: str) -> None:
        self.url, self.secret = url, webhook_secret()
        self.moved = asyncio.Event()

    async def receive(self, request: Request) -> Response:
        """Take a message of MLflow's and answer at once."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LONGEST:
                return PlainTextResponse("too long", 413)
        if not is_genuine(request.headers, body, self.secret, time.time()):
            log.warning("a message was refused: its signature or its time is wrong")
            return PlainTextResponse("its signature or its time is wrong", 401)
        if concerns_champion(body):
            self.moved.set()
        return PlainTextResponse("taken", 202)

    async def work(self) -> None:
        """Register the webhook; then reconcile whenever the champion was moved, one run after the other."""
        await _until_done("MLflow does not take the webhook", self._register)
        while True:
            await self.moved.wait()
            await asyncio.sleep(_BURST)
            self.moved.clear()
            await _until_done(f"{DEPLOYMENT} was not run", _reconcile)

    async def _register(self) -> str:
        return await asyncio.to_thread(register_webhook, self.url, self.secret)


async def _reconcile() -> str:
    """Run the deployment, and wait for its end: one that was cancelled beside another run may have missed the move."""
    run = await arun_deployment(DEPLOYMENT, timeout=_PATIENCE, poll_interval=1, as_subflow=False)
    if run.state is None or run.state.is_cancelled() or run.state.is_crashed():
        raise InputError(f"its run {run.name} is {run.state.name if run.state else 'nowhere'}")
    return f"{DEPLOYMENT}: run {run.name} is {run.state.name}"


async def _until_done(problem: str, work: Callable[[], Awaitable[str]]) -> None:
    """Try, and complain, until it works."""
    for pause in chain(_PAUSES, repeat(60)):
        try:
            log.info(await work())
            return
        except Exception as error:  # whatever it is, the schedule goes on, and so does the receiver
            log.warning("%s (%s); again in %d s", problem, error, pause)
        await asyncio.sleep(pause)


def make_app(receiver: Receiver) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(receiver.work())
        yield
        worker.cancel()

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok")

    routes = [Route("/mlflow", receiver.receive, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan)


@tells_bad_input
def main() -> None:
    """Serve until a signal comes.

    Raises:
        InputError: the environment names no port, no MLflow server or no Prefect server.
    """
    named = os.environ.get("UNILOGIT_WEBHOOK_PORT", str(PORT))
    if not named.isdecimal() or not 0 < int(named) < 65536:
        raise InputError(f"UNILOGIT_WEBHOOK_PORT = {named}: no port; set it to a number up to 65535")
    need_server()
    if not get_current_settings().api.url:
        raise InputError("PREFECT_API_URL names no Prefect server; `unilogit up` starts one")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # we try again ourselves, and end at once when told
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each look at a run
    app = make_app(Receiver(f"http://{HOST}:{named}/mlflow"))
    uvicorn.run(app, host=HOST, port=int(named), log_level="warning", access_log=False)


if __name__ == "__main__":
    typer.run(main)
