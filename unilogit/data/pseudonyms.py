"""Names that say nothing of a person, where messages, audit rows or other systems need one.

A pseudonym is a keyed digest: whoever holds the key can tell whether it is somebody's, nobody else can guess it. Knows
nothing of where the key is kept.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable

from unilogit.data.requests import DeletionRequest
from unilogit.data.text import normal_form

_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_WORD = re.compile(r"[^\W\d_]{3,}")  # three letters or more


class Pseudonyms:
    """The pseudonyms under one key.

    Args:
        key: secret bytes; 32 random ones will do.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def subject(self, subject_id: str) -> str:
        """The pseudonym of a person, the same for ids that read the same."""
        return self._name("subject", normal_form(subject_id))

    def reference(self, request: DeletionRequest) -> str:
        """What a request is called outside the ledger: its request_id, or a pseudonym where that looks personal."""
        is_personal = looks_personal(request.request_id, [request])
        return self._name("request", request.request_id) if is_personal else request.request_id

    def file(self, name: str, requests: Iterable[DeletionRequest]) -> str:
        """What a request file is called: its name, or a pseudonym where that looks personal."""
        return self._name("file", name) if looks_personal(name, requests) else name

    def _name(self, kind: str, text: str) -> str:
        return f"{kind}-{hmac.new(self._key, f'{kind}:{text}'.encode(), hashlib.sha256).hexdigest()[:16]}"


def looks_personal(name: str, requests: Iterable[DeletionRequest]) -> bool:
    """Whether a name holds an e-mail address, the subject of one of the requests, or a word of its name or text."""
    if "@" in name and _EMAIL.search(name):
        return True
    name = normal_form(name)
    words = set(_WORD.findall(name))
    for request in requests:
        texts = [normal_form(text) for text in (request.subject_id, *request.aliases) if text]
        for person in texts:
            if person in name:
                return True
        if request.text:
            texts.append(normal_form(request.text))
        said = " ".join(texts)
        parts = {word for word in words if word in said}
        if parts and not parts.isdisjoint(_WORD.findall(said)):  # to find all words takes long, and is seldom needed
            return True
    return False
