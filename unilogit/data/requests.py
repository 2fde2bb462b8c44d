"""Deletion requests: who asks to be forgotten, by which selectors, and until when.

Knows what a request is. Knows nothing of the files that bring it (request_files.py) or of its life (ledger.py).
"""

from datetime import UTC, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from unilogit.data.records import Identifier
from unilogit.files import sha256_json

DAYS_TO_ACT = 30  # GDPR Art. 12(3): one month from receipt

Time = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]


class DeletionRequest(BaseModel):
    """One request to forget.

    Attributes:
        request_id: unique, chosen by the source.
        received_at: when it came in; kept in UTC.
        subject_id: forget everything about this person.
        record_ids: forget these records.
        text: forget what says this.
        legal_basis: e.g. "GDPR Art. 17(1)(b)".
        due_at: when it must be done; 30 days after received_at when not given.
        source: the system it came from.
        file, row: where it stands in what was taken in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: Identifier
    received_at: Time
    subject_id: Identifier | None = None
    record_ids: list[Identifier] = Field(default_factory=list)
    text: Annotated[str, Field(min_length=1)] | None = None
    legal_basis: str | None = None
    due_at: Time = Field(default_factory=lambda given: given["received_at"] + timedelta(days=DAYS_TO_ACT))
    source: str | None = None
    file: str = ""
    row: int = 0

    @model_validator(mode="after")
    def _asks_for_something_in_time(self) -> Self:
        if not (self.subject_id or self.record_ids or self.text):
            raise ValueError("nothing says what to forget; fill in `subject_id`, `record_ids` or `text`")
        if self.due_at < self.received_at:
            raise ValueError("`due_at` is earlier than `received_at`; correct one of them")
        return self

    @property
    def origin(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.row}"

    @property
    def content_sha256(self) -> str:
        """Digest of what is asked, wherever it stood: equal for the same request sent twice."""
        return sha256_json(self.model_dump(mode="json", exclude={"file", "row"}))


class Rejection(BaseModel):
    """A row that is no request that can be used; a line of quarantine/requests.jsonl.

    Attributes:
        reasons: what is wrong and what to do, a sentence each, without anybody's data.
        raw: the row as it came.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    file: str
    row: int
    reasons: list[str]
    raw: str

    def __str__(self) -> str:
        return f"{self.file}:{self.row}: {'; '.join(self.reasons)}"
