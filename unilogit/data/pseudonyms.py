"""Names that say nothing of a person, where messages, audit rows or other systems need one.

A pseudonym is a keyed digest: whoever holds the key can tell whether it is somebody's, nobody else can guess it. Knows
nothing of where the key is kept.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterable

from unilogit.data.requests import DeletionRequest
from unilogit.data.text import normal_form
from unilogit.errors import InputError

_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_WORD = re.compile(r"[^\W\d_]{3,}")  # three letters or more
_BLOCK = 64  # bytes that SHA-256 takes at once


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

    @property
    def check(self) -> str:
        """By what the key is known again: 16 hexadecimal digits that say nothing of it."""
        return self.digester("check")("").hex()[:16]

    def digester(self, kind: str) -> Callable[[str], bytes]:
        """A function that makes the digest of a text of one kind: HMAC-SHA256 (RFC 2104) of `kind:text`.

        Its state is prepared once, as there may be millions of texts.
        """
        key = self._key if len(self._key) <= _BLOCK else hashlib.sha256(self._key).digest()
        key = key.ljust(_BLOCK, b"\0")
        inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + f"{kind}:".encode())
        outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

        def digest(text: str) -> bytes:
            said, sealed = inner.copy(), outer.copy()
            said.update(text.encode())
            sealed.update(said.digest())
            return sealed.digest()

        return digest

    def _name(self, kind: str, text: str) -> str:
        return f"{kind}-{hmac.new(self._key, f'{kind}:{text}'.encode(), hashlib.sha256).hexdigest()[:16]}"


def require_key(checks: Collection[str], check: str) -> None:
    """Do nothing if all of a list of digests was made under this key, as by another nothing in it is found.

    Args:
        checks: Pseudonyms.check of the keys that it was made under.
        check: that of the present key.

    Raises:
        InputError: another key made some of it.
    """
    if other_keys := sorted(set(checks) - {check}):
        raise InputError(
            f"the suppression list was made under another key for pseudonyms (check value {other_keys[0]}) than the"
            f" present one ({check}); put that key back: whoever shares a ledger must share the key (docs/purge.md)"
        )


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
