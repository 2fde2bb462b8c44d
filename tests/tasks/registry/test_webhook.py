"""MLflow's webhook: there is one of ours, and only what MLflow signed a moment ago is believed."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.webhooks.constants import (
    WEBHOOK_DELIVERY_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
)
from mlflow.webhooks.delivery import _generate_hmac_signature

from tasks.registry import webhook
from tasks.registry.webhook import TOLERANCE, concerns_champion, is_genuine, need_server, register_webhook
from unilogit.errors import InputError

NOW = 1_800_000_000
SECRET = "s" * 64


def sign(body, secret=SECRET, timestamp=str(NOW), delivery="d-1"):
    """The headers of a message as MLflow itself makes them, with names as an HTTP server hands them on."""
    headers = {
        WEBHOOK_SIGNATURE_HEADER: _generate_hmac_signature(secret, delivery, timestamp, body),
        WEBHOOK_TIMESTAMP_HEADER: timestamp,
        WEBHOOK_DELIVERY_ID_HEADER: delivery,
    }
    return {name.lower(): value for name, value in headers.items()}


@given(st.text(), st.text(min_size=1), st.integers(-TOLERANCE, TOLERANCE))
def test_what_mlflow_signed_is_believed(body, secret, age):
    assert is_genuine(sign(body, secret), body.encode(), secret, NOW + age)


@given(st.text(), st.text(), st.sampled_from(["body", "secret", "signature", "timestamp", "delivery"]), st.text())
def test_what_was_changed_is_not(body, secret, part, other):
    headers, sent = sign(body, secret), body.encode()
    match part:
        case "body":
            sent = other.encode()
        case "secret":
            secret = secret + "x"
        case _:
            headers[f"x-mlflow-{'delivery-id' if part == 'delivery' else part}"] = other
    unchanged = sent == body.encode() and headers == sign(body, secret)
    assert is_genuine(headers, sent, secret, NOW) == unchanged


@pytest.mark.parametrize("age", [-TOLERANCE - 1, TOLERANCE + 1, 10**6])
def test_what_is_old_or_of_another_time_is_not(age):
    assert not is_genuine(sign("{}"), b"{}", SECRET, NOW + age)


@pytest.mark.parametrize("timestamp", ["", "now", "-5", "1e9", "٣", "9" * 400])
def test_a_time_that_is_none_is_refused_although_it_is_signed(timestamp):
    assert not is_genuine(sign("{}", timestamp=timestamp), b"{}", SECRET, NOW)


def test_without_headers_nothing_is_believed():
    assert not is_genuine({}, b"{}", SECRET, time.time())


def message(entity="model_version_alias", alias="champion"):
    return {"entity": entity, "action": "created", "data": {"name": "assistant", "alias": alias, "version": "1"}}


@pytest.mark.parametrize(
    ("sent", "concerned"),
    [
        (message(), True),
        (message() | {"action": "deleted"}, True),
        (message(alias="candidate"), False),
        (message(entity="model_version"), False),
        ({"entity": "model_version_alias"}, False),
        ([], False),
        (None, False),
    ],
)
def test_only_moves_of_champion_count(sent, concerned):
    assert concerns_champion(json.dumps(sent).encode()) is concerned


def test_what_is_no_json_concerns_nobody():
    assert not concerns_champion(b"\xff{")


@pytest.fixture
def server(store, monkeypatch):
    """The registry as its server sees it; MLflow keeps webhooks in the same database."""
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    return store


def test_there_is_one_webhook_of_ours_with_the_last_url(server):
    server.create_webhook("somebody-else", "http://127.0.0.1:1/", ["model_version.created"])
    for port in (5055, 5055, 6066):
        register_webhook(f"http://127.0.0.1:{port}/mlflow", SECRET)
    for _ in range(2):
        server.create_webhook(webhook._NAME, "http://127.0.0.1:2/", ["model_version.created"], status="DISABLED")
    register_webhook("http://127.0.0.1:7077/mlflow", SECRET)
    known = {hook.name: hook for hook in server.list_webhooks()}
    assert len(server.list_webhooks()) == 2
    assert known["somebody-else"].url == "http://127.0.0.1:1/"
    ours = known[webhook._NAME]
    assert (ours.url, str(ours.status)) == ("http://127.0.0.1:7077/mlflow", "ACTIVE")
    assert {str(event) for event in ours.events} == {"model_version_alias.created", "model_version_alias.deleted"}


def test_a_server_that_sends_nothing_here_is_told_what_it_needs(store, monkeypatch):
    monkeypatch.delenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", raising=False)
    with pytest.raises(InputError, match="start its server with MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https"):
        register_webhook("http://127.0.0.1:5055/mlflow", SECRET)


def test_a_registry_without_server_has_no_webhooks(home):
    with pytest.raises(InputError, match="names no MLflow server, and only a server sends webhooks"):
        need_server()
