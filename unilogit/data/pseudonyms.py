"""Names that say nothing of a person, where messages, audit rows or other systems need one.

A pseudonym is a keyed digest: whoever holds the key can tell whether it is somebody's, nobody else can guess it. Knows
nothing of where the key is kept.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterable
from itertools import pairwise

from unilogit.data.locations import file_name
from unilogit.data.request_files import SUFFIXES
from unilogit.data.requests import DeletionRequest
from unilogit.data.text import normal_form
from unilogit.data.words import is_unspaced, words
from unilogit.errors import InputError

_HEXADECIMAL = re.compile(
    r"\b([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[0-9a-f]*[0-9])[0-9a-f]{6,})\b"
)  # UUIDs, too
_NAME_WORD = re.compile(r"[a-z]{2,}|[^\W\d_a-z]")  # of other scripts, one letter may be a name
_NUMBER = re.compile(r"\d{4,}")
_COMMON = re.compile(
    "requests?|deletions?|delete|erasures?|erase|forget|forgotten|removals?|remove|withdrawals?|withdraw|dsar|gdpr|ccpa"
    "|rtbf|req|ref|tickets?|cases?|numbers?|num|nr|no|ids?|privacy|subjects?|data|records?|persons?|people|customers?"
    "|users?|members?|clients?|patients?|employees?|students?|inbox|exports?|imports?|batch|batches|lists?|files?|forms?"
    "|web|mail|email|portal|crm|app|systems?|sources?|table|sheet|tests?|demo|examples?|samples?|new|old|all|open|late"
    "|pending|overdue|first|second|third|last|next|more|others?|part|page|daily|weekly|monthly|day|week|month|year"
    "|quarter|good|bad|broken|empty|refused|copy|final|draft|backup|prod|production|staging|and|the|for|from|with|of|to"
    "|by|in|eu|gz|jsonl?|ndjson|csv|tsv|parquet|utf|corpus|shards?|train|training|holdout|retain"
)
"""Words that request files and requests are called by, and that name nobody."""
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_DIGIT = re.compile(r"[\d_]")
_SHORTEST = 3  # letters of a word that may tell who it is
_ASCII_TELLING = re.compile(rf"[A-Za-z]{{{_SHORTEST},}}")
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
        """What a request is called outside the ledger: its request_id where that names nobody, else a pseudonym."""
        name = request.request_id
        return name if _names_nobody(name, [request]) else self._name("request", name)

    def file(self, name: str, requests: Iterable[DeletionRequest]) -> str:
        """What a request file is called: its name where that names nobody, else a pseudonym."""
        return name if _names_nobody(name, requests) else self._name("file", name)

    def location(self, location: str) -> str:
        """What a place of request files, a path or URL, is called: as it is, but for the name of a file."""
        name = file_name(location)
        if not name.lower().endswith(SUFFIXES):
            return location
        return location.rstrip("/").removesuffix(name) + self.file(name, [])

    def hide(self, sentence: str, files: Iterable[str]) -> str:
        """A sentence in which files go by what they are called."""
        for name in files:
            if name in sentence:
                sentence = sentence.replace(name, self.file(name, []))
        return sentence

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


def _names_nobody(name: str, requests: Iterable[DeletionRequest]) -> bool:
    """Whether a name is made of common words, hexadecimal and numbers, of which no request is about any."""
    asked = list(requests)
    words = _NAME_WORD.findall(_HEXADECIMAL.sub(" ", normal_form(name)))
    if not all(map(_COMMON.fullmatch, words)) or looks_personal(name, asked):
        return False
    numbers = [number for number in _NUMBER.findall(name) if not _is_year(number)]
    return not any(
        number in selector
        for request in asked
        for selector in (request.subject_id or "", *request.aliases, *request.record_ids)
        for number in numbers
    )


def _is_year(number: str) -> bool:
    return len(number) == 4 and number[:2] in ("19", "20")


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
    telling = _telling(name)
    for request in requests:
        texts = [normal_form(text) for text in (request.subject_id, *request.aliases) if text]
        for person in texts:
            if person in name:
                return True
        if request.text:
            texts.append(normal_form(request.text))
        said = " ".join(texts)
        parts = {part for part in telling if part in said}
        if parts and not parts.isdisjoint(_telling(said)):  # to find all of them takes long, and is seldom needed
            return True
    return False


def _telling(text: str) -> set[str]:
    """What may tell of a text whom it is about: words of three letters; without spaces, two characters on end."""
    if text.isascii():
        return set(_ASCII_TELLING.findall(text))  # the same, much sooner
    parts = words(_DIGIT.sub(" ", text))
    pairs = {first + second for first, second in pairwise(parts) if is_unspaced(first[0]) and is_unspaced(second[0])}
    return pairs | {word for word in parts if len(word) >= _SHORTEST and not is_unspaced(word[0])}
