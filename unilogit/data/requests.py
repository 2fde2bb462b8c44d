"""Deletion requests: who asks to be forgotten, by which selectors, and until when.

Knows what a request is. Knows nothing of the files that bring it (request_files.py) or of its life (the ledger).
"""

import re
from collections.abc import Mapping
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
from pydantic_core import PydanticCustomError

from unilogit.data.records import FIELD_REFUSED, ROW_REFUSED, Identifier, explain
from unilogit.errors import InputError
from unilogit.files import sha256_json

DAYS_TO_ACT = 30  # GDPR Art. 12(3): one month from receipt
RFC_3339 = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$"

_OWN_WORDS = {
    ("request_id", "missing"): "is missing; give the request an id of its own",
    ("received_at", "missing"): "is missing; add the time the request came in, like 2025-03-01T12:00:00Z",
}


def _read_time(cell: object, read: ValidatorFunctionWrapHandler) -> datetime:
    """A datetime or text of RFC 3339, in UTC; neither a date nor the seconds since 1970 will do."""
    if isinstance(cell, str) and re.fullmatch(RFC_3339, f"{cell}Z"):
        words = "has no time zone; add Z for UTC, or how far from it, like 2025-03-01T12:00:00+01:00"
        raise PydanticCustomError(FIELD_REFUSED, words)
    try:
        if not (isinstance(cell, datetime) or (isinstance(cell, str) and re.fullmatch(RFC_3339, cell))):
            raise ValueError
        time: datetime = read(cell)
    except ValueError:
        words = "must be a time with a time zone in the form of RFC 3339; write it like 2025-03-01T12:00:00Z"
        raise PydanticCustomError(FIELD_REFUSED, words) from None
    return _reachable(time, timedelta(0))


def _written(time: datetime) -> str:
    """A time in UTC as JSON has it."""
    return time.isoformat().replace("+00:00", "Z")


def _reachable(time: datetime, later: timedelta) -> datetime:
    """`time` in UTC, where `later` after it there is still a date to write."""
    if 1 < time.year < 9999:
        return time.astimezone(UTC)
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
    received_at: Annotated[Time, AfterValidator(lambda time: _reachable(time, timedelta(days=DAYS_TO_ACT)))]
    subject_id: Identifier | None = None
    aliases: list[Identifier] = Field(default_factory=list)
    record_ids: list[Identifier] = Field(default_factory=list)
    text: Annotated[str, Field(min_length=1)] | None = Field(default=None, validate_default=True)
    legal_basis: str | None = None
    due_at: Time = Field(default_factory=lambda fields: fields["received_at"] + timedelta(days=DAYS_TO_ACT))
    source: str | None = None
    reference: str = ""
    file: str = ""
    row: int = 0

    @field_validator("text")
    @classmethod
    def _asks_for_something(cls, text: str | None, info: ValidationInfo) -> str | None:
        selectors = [text, *(info.data.get(name, "refused") for name in ("subject_id", "aliases", "record_ids"))]
        if not any(selectors):
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
        asked = {
            "request_id": self.request_id,
            "received_at": _written(self.received_at),
            "subject_id": self.subject_id,
            "record_ids": self.record_ids,
            "text": self.text,
            "legal_basis": self.legal_basis,
            "due_at": _written(self.due_at),
            "source": self.source,
        }
        return sha256_json({**asked, "aliases": self.aliases} if self.aliases else asked)

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """A copy, with the fields of `update` changed; it makes its own digest."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("content_sha256", None)
        return copy


def as_request(fields: Mapping[str, str | list[str] | None], file: str, row: int) -> DeletionRequest:
    """The request that a row of text makes.

    Args:
        fields: what the row gives, by name; None and [] stand for nothing given.
        file, row: where it stands.

    Raises:
        InputError: a sentence for everything that is wrong, without anybody's data.
    """
    filled = {name: value for name, value in fields.items() if value}
    try:
        return DeletionRequest.model_validate({**filled, "file": file, "row": row})
    except ValidationError as error:
        raise InputError(*explain(error, _OWN_WORDS)) from None


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
