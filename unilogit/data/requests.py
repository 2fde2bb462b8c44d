"""Deletion requests: who asks to be forgotten, by which selectors, and until when.

Knows what a request is. Knows nothing of the files that bring it (request_files.py) or of its life (the ledger).
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError, to_json

from unilogit.data.records import FIELD_REFUSED, ROW_REFUSED, Identifier, explain
from unilogit.errors import InputError

DAYS_TO_ACT = 30  # GDPR Art. 12(3): one month from receipt
_TIME_TO_ACT = timedelta(days=DAYS_TO_ACT)
RFC_3339 = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$"

_RFC_3339 = re.compile(RFC_3339)
_SELECTORS = ("subject_id", "aliases", "record_ids")
_OWN_WORDS = {
    ("request_id", "missing"): "is missing; give the request an id of its own",
    ("received_at", "missing"): "is missing; add the time the request came in, like 2025-03-01T12:00:00Z",
}


def _read_time(cell: object, read: ValidatorFunctionWrapHandler) -> datetime:
    """A datetime or text of RFC 3339, in UTC; neither a date nor the seconds since 1970 will do."""
    is_written = isinstance(cell, str) and _RFC_3339.fullmatch(cell) is not None
    if isinstance(cell, str) and not is_written and _RFC_3339.fullmatch(f"{cell}Z"):
        words = "has no time zone; add Z for UTC, or how far from it, like 2025-03-01T12:00:00+01:00"
        raise PydanticCustomError(FIELD_REFUSED, words)
    try:
        if isinstance(cell, str) and is_written and cell.endswith("Z"):
            return datetime.fromisoformat(cell)  # as most are: much faster
        if not (is_written or isinstance(cell, datetime)):
            raise ValueError
        time: datetime = read(cell)
    except ValueError:
        words = "must be a time with a time zone in the form of RFC 3339; write it like 2025-03-01T12:00:00Z"
        raise PydanticCustomError(FIELD_REFUSED, words) from None
    return _reachable(time, timedelta(0))


def _reachable(time: datetime, later: timedelta) -> datetime:
    """`time` in UTC, where `later` after it there is still a date to write."""
    if 1 < time.year < 9999:
        return time if time.tzinfo is UTC else time.astimezone(UTC)
    try:
        return (time + later).astimezone(UTC) - later
    except OverflowError:
        raise PydanticCustomError(ROW_REFUSED, "a time lies too far away; correct its year") from None


Time = Annotated[AwareDatetime, WrapValidator(_read_time), Field(json_schema_extra={"pattern": RFC_3339})]


class DeletionRequest(BaseModel):
    """One request to forget.

    Attributes:
        request_id: unique, chosen by the source.
        received_at: when it came in; kept in UTC.
        subject_id: forget everything about this person.
        aliases: other ids and names of this person: each is compared with records' subject ids, and looked for in their
            texts as `text` is.
        record_ids: forget these records.
        text: forget what says this.
        legal_basis: e.g. "GDPR Art. 17(1)(b)".
        due_at: when it must be done; 30 days after received_at when not given.
        source: the system it came from.
        reference: what it is called in messages and in the audit table, which no personal data may reach; the
            request_id when empty.
        file, row: where it stands in what was taken in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: Identifier
    received_at: Annotated[Time, AfterValidator(lambda time: _reachable(time, _TIME_TO_ACT))]
    subject_id: Identifier | None = None
    aliases: list[Identifier] = Field(default_factory=list)
    record_ids: list[Identifier] = Field(default_factory=list)
    text: Annotated[str, Field(min_length=1)] | None = Field(default=None, validate_default=True)
    legal_basis: str | None = None
    due_at: Time = Field(default_factory=lambda fields: fields["received_at"] + _TIME_TO_ACT)
    source: str | None = None
    reference: str = ""
    file: str = ""
    row: int = 0

    @field_validator("text")
    @classmethod
    def _asks_for_something(cls, text: str | None, info: ValidationInfo) -> str | None:
        if not text and not any(info.data.get(name, "refused") for name in _SELECTORS):
            words = "nothing says what to forget; fill in `subject_id`, `aliases`, `record_ids` or `text`"
            raise PydanticCustomError(ROW_REFUSED, words)
        return text

    @field_validator("due_at")
    @classmethod
    def _due_after_receipt(cls, due_at: datetime, info: ValidationInfo) -> datetime:
        if due_at < info.data.get("received_at", due_at):
            raise PydanticCustomError(FIELD_REFUSED, "is earlier than `received_at`; correct one of them")
        return due_at

    @property
    def origin(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.row}"

    @cached_property
    def content_sha256(self) -> str:
        """Digest of what is asked, wherever it stood: equal for the same request sent twice."""
        asked: dict[str, object] = {"aliases": self.aliases} if self.aliases else {}
        asked |= {
            "due_at": self.due_at,
            "legal_basis": self.legal_basis,
            "received_at": self.received_at,
            "record_ids": self.record_ids,
            "request_id": self.request_id,
            "source": self.source,
            "subject_id": self.subject_id,
            "text": self.text,
        }
        # What sha256_json is over, sooner: keys in order, no white space, times in UTC with a Z.
        return hashlib.sha256(to_json(asked)).hexdigest()

    @classmethod
    def kept(cls, content_sha256: str, **fields: object) -> Self:
        """A request as it was kept: nothing is checked or hashed again.

        As `model_construct` makes it, which takes four times as long to look for fields that are missing or unknown.

        Args:
            fields: all of them; times in UTC.
        """
        request = cls.__new__(cls)
        set_value = object.__setattr__
        set_value(request, "__pydantic_fields_set__", set(fields))
        fields["content_sha256"] = content_sha256  # where the property keeps what it has made
        set_value(request, "__dict__", fields)
        set_value(request, "__pydantic_extra__", None)
        set_value(request, "__pydantic_private__", None)
        return request

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """A copy, with the fields of `update` changed; it makes its own digest."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("content_sha256", None)
        return copy


def as_request(
    fields: Mapping[str, str | list[str] | None],
    file: str,
    row: int,
    reference: Callable[[DeletionRequest], str] | None = None,
) -> DeletionRequest:
    """The request that a row of text makes.

    Args:
        fields: what the row gives, by name; None and [] stand for nothing given.
        file, row: where it stands.
        reference: says what the request is called; nothing when None.

    Raises:
        InputError: a sentence for everything that is wrong, without anybody's data.
    """
    filled: dict[str, object] = {name: value for name, value in fields.items() if value}
    filled["file"], filled["row"] = file, row
    try:
        request = DeletionRequest.model_validate(filled)
    except ValidationError as error:
        raise InputError(*explain(error, _OWN_WORDS)) from None
    if reference:
        request.__dict__["reference"] = reference(request)  # nobody else has it yet: no copy is needed
    return request


class Rejection(BaseModel):
    """A row that is no request that can be used; a line of quarantine/requests.jsonl.

    Attributes:
        row: where it stands; 0 where the file as a whole is refused.
        reasons: what is wrong and what to do, a sentence each, without anybody's data.
        raw: the row as it came; empty of a whole file.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    file: str
    row: int
    reasons: list[str]
    raw: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.row}" if self.row else self.file
        return f"{place}: {'; '.join(self.reasons)}"
