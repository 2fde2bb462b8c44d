"""What the receiver answers over HTTP, without the servers that it works between (tests/e2e/test_receiver.py)."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import time

import httpx
import pytest

from tests.tasks.registry.test_webhook import message, sign


@pytest.fixture
def receiver(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "var"))
    from flows.receiver import Receiver

    return Receiver("http://127.0.0.1:5055/mlflow")


def send(receiver, method, path, **parts):
    from flows.receiver import make_app

    async def talk():
        transport = httpx.ASGITransport(app=make_app(receiver))
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
            return await client.request(method, path, **parts)

    return asyncio.run(talk())


def post(receiver, sent, **signed):
    body = json.dumps(sent)
    headers = sign(body, signed.pop("secret", receiver.secret), str(int(signed.pop("at", time.time()))))
    return send(receiver, "POST", "/mlflow", content=body, headers=headers)


def test_health_is_answered(receiver):
    assert send(receiver, "GET", "/health").status_code == 200


def test_a_move_of_champion_is_taken_and_remembered(receiver):
    assert post(receiver, message()).status_code == 202
    assert receiver.moved.is_set()


def test_another_alias_is_taken_and_forgotten(receiver):
    assert post(receiver, message(alias="candidate")).status_code == 202
    assert not receiver.moved.is_set()


@pytest.mark.parametrize("wrong", [{"secret": "f" * 64}, {"at": time.time() - 900}, {"at": 0}])
def test_a_forged_or_an_old_message_is_refused(receiver, wrong):
    assert post(receiver, message(), **wrong).status_code == 401
    assert send(receiver, "POST", "/mlflow", content=b"{}").status_code == 401
    assert not receiver.moved.is_set()


def test_a_message_without_end_is_refused(receiver):
    assert send(receiver, "POST", "/mlflow", content=b"x" * 200_000).status_code == 413


def test_the_secret_is_made_once_and_for_its_owner_alone(receiver, tmp_path):
    from flows.receiver import Receiver

    file = tmp_path / "var" / "keys" / "webhook.key"
    assert Receiver("http://127.0.0.1:1/mlflow").secret == receiver.secret == file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"UNILOGIT_WEBHOOK_PORT": "many"}, "UNILOGIT_WEBHOOK_PORT = many: no port; set it to a number"),
        ({"UNILOGIT_WEBHOOK_PORT": "70000"}, "UNILOGIT_WEBHOOK_PORT = 70000: no port"),
        ({"MLFLOW_TRACKING_URI": ""}, "MLFLOW_TRACKING_URI names no MLflow server"),
    ],
)
def test_what_the_environment_lacks_is_said_and_exit_code_2(tmp_path, setting, words):
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**own, "UNILOGIT_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": "http://127.0.0.1:1", **setting}
    command = [sys.executable, "-m", "flows.receiver"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr
