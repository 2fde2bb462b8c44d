"""MLflow's registry webhook: registered exactly once, and its messages told from forged ones.

Knows what MLflow sends and how it signs it (`mlflow.webhooks`, after standardwebhooks.com); nothing of what follows
from it. MLflow is imported inside functions.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tasks.registry.connection import client, tracking_uri
from tasks.registry.versions import CHAMPION
from unilogit.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.webhook import Webhook, WebhookEvent, WebhookEventStr

TOLERANCE = 300  # seconds that a message may be old, or our clock behind
_NAME = "unilogit-reconcile"
_ENTITY = "model_version_alias"
_EVENTS: "list[WebhookEventStr | WebhookEvent]" = ["model_version_alias.created", "model_version_alias.deleted"]
_SIGNATURE, _TIMESTAMP, _DELIVERY = "x-mlflow-signature", "x-mlflow-timestamp", "x-mlflow-delivery-id"
_VERSION = "v1"


def need_server() -> None:
    """Refuse a registry without a server.

    Raises:
        InputError: only a server sends webhooks.
    """
    if not tracking_uri().startswith(("http://", "https://")):
        raise InputError(
            "MLFLOW_TRACKING_URI names no MLflow server, and only a server sends webhooks; `unilogit up` starts one"
        )


def register_webhook(url: str, secret: str) -> str:
    """Make MLflow tell `url` of every alias that is set or removed; what was done, in a sentence.

    However often it is called, MLflow has one webhook of ours, with this URL and secret.

    Raises:
        InputError: the server sends nothing to this machine.
    """
    from mlflow.exceptions import MlflowException

    store = client()
    try:
        webhooks = [webhook for webhook in _every_webhook(store) if webhook.name == _NAME]
        for surplus in webhooks[1:]:
            store.delete_webhook(surplus.webhook_id)
        if webhooks:
            number = webhooks[0].webhook_id
            store.update_webhook(number, url=url, events=_EVENTS, secret=secret, status="ACTIVE")
            return f"MLflow's webhook {_NAME} leads to {url}"
        store.create_webhook(_NAME, url, _EVENTS, "the champion is checked at once", secret, "ACTIVE")
        return f"MLflow has a webhook {_NAME}, to {url}"
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise InputError(
            f"MLflow refuses a webhook to {url} ({error.message}); start its server with"
            " MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https and MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true, as `unilogit up`"
            " does"
        ) from error


def _every_webhook(store: "MlflowClient") -> "Iterator[Webhook]":
    token: str | None = None
    while token != "":
        page = store.list_webhooks(page_token=token)
        yield from page
        token = page.token or ""


def is_genuine(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> bool:
    """Whether MLflow, which alone knows the secret, signed a message, and did so a moment ago.

    Args:
        headers: with names in small letters.
        now: seconds since 1970.
    """
    timestamp = headers.get(_TIMESTAMP, "")
    if not (timestamp.isascii() and timestamp.isdigit() and abs(now - int(timestamp[:20])) <= TOLERANCE):
        return False
    signed = f"{headers.get(_DELIVERY, '')}.{timestamp}.".encode() + body
    right = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(f"{_VERSION},{right}".encode(), headers.get(_SIGNATURE, "").encode())


def concerns_champion(body: bytes) -> bool:
    """Whether a genuine message says that the alias champion was set or removed."""
    try:
        message = json.loads(body)
        return bool(message["entity"] == _ENTITY and message["data"]["alias"] == CHAMPION)
    except (ValueError, TypeError, KeyError):
        return False
