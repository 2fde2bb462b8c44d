"""The ledger's tables as they are now; migrations/ makes them and brings older ones up to them.

Knows how values are stored. Knows nothing of what changes a row.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from unilogit.ledger.states import RequestState


def utc_text(time: datetime) -> str:
    """An aware time as it is stored: UTC, ISO 8601 with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def parameter_mark(connection: sa.Connection) -> str:
    """What stands for a parameter in SQL that goes to the driver as it is."""
    return "?" if connection.dialect.name == "sqlite" else "%s"


def insert_rows(
    connection: sa.Connection,
    table: type["Table"],
    columns: tuple[str, ...],
    rows: Sequence[tuple[str | int | None, ...]],
    *,
    new_only: bool = False,
) -> None:
    """Insert values as they are stored, by the driver alone: a third of the time where there are millions of rows.

    Args:
        new_only: pass over rows whose key is there already.
    """
    if rows:
        marks = ", ".join([parameter_mark(connection)] * len(columns))
        statement = f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) VALUES ({marks})"
        if new_only:
            statement += " ON CONFLICT DO NOTHING"
        connection.exec_driver_sql(statement, list(rows))


class _UtcTime(sa.TypeDecorator[datetime]):
    """An aware time as UTC text of one width: no database drops its zone, and text order is time order."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        return utc_text(value) if value else None

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        return datetime.fromisoformat(value) if value else None


class _State(sa.TypeDecorator[RequestState]):
    impl = sa.String(32)
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> RequestState | None:
        return RequestState(value) if value else None


class Table(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        datetime: _UtcTime,
        RequestState: _State,
        list[str]: sa.JSON,
    }


class SchemaRow(Table):
    """The version of these tables: one row, which every writer of a server's database locks."""

    __tablename__ = "ledger_schema"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class FileRow(Table):
    """A file that was taken in, known again by the digest of its content."""

    __tablename__ = "ledger_files"
    sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    file: Mapped[str]
    at: Mapped[datetime]
    run: Mapped[str]


class RequestRow(Table):
    """A request: where it stands, and as `content` the whole of it in JSON.

    `reference` is what the request is called outside this table, and in the audit table. What a purge leaves has
    neither content nor origin, and its reference for a request_id.
    """

    __tablename__ = "ledger_requests"
    reference: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    request_id: Mapped[str] = mapped_column(sa.String(200), unique=True)
    state: Mapped[RequestState]
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    batch_id: Mapped[str | None] = mapped_column(sa.String(32), index=True)
    origin: Mapped[str]
    content: Mapped[str] = mapped_column(sa.Text)
    content_sha256: Mapped[str]
    held_reasons: Mapped[list[str]] = mapped_column(server_default="[]")
    approvals: Mapped[list[str]] = mapped_column(server_default="[]")
    watched_since: Mapped[datetime | None]
    searched_at: Mapped[datetime | None]
    searched_corpus: Mapped[str | None]
    certificate_sha256: Mapped[str | None] = mapped_column(sa.String(64))
    purged_at: Mapped[datetime | None]
    __table_args__ = (
        sa.Index("ix_ledger_requests_urgency", "due_at", "received_at", "reference"),
        sa.Index("ix_ledger_requests_state_urgency", "state", "due_at", "received_at", "reference"),
    )


class SuppressionRow(Table):
    """A keyed digest of what identifies somebody whose request is purged, and by what its key is known again."""

    __tablename__ = "ledger_suppressions"
    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    reference: Mapped[str] = mapped_column(sa.String(200))
    key_check: Mapped[str] = mapped_column(sa.String(16))


class RejectionRow(Table):
    """A refused row of a file, without its text."""

    __tablename__ = "ledger_rejections"
    number: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str]
    row: Mapped[int]
    reasons: Mapped[list[str]]
    at: Mapped[datetime]


class BatchRow(Table):
    """A batch; `finished_at` is None while it is open, `training_at` until its requests can no longer be withdrawn."""

    __tablename__ = "ledger_batches"
    batch_id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    opened_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    passed: Mapped[bool | None]
    training_at: Mapped[datetime | None]
    attempts: Mapped[int]


class MemberRow(Table):
    """A request that a batch was taken with, whatever became of it; `withdrawn` when it left by its own wish."""

    __tablename__ = "ledger_batch_requests"
    batch_id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    reference: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    withdrawn: Mapped[bool]


class AuditRow(Table):
    """One move of one request; `sha256` chains it to the row before. `request_id` holds the request's reference."""

    __tablename__ = "ledger_audit"
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    request_id: Mapped[str] = mapped_column(sa.String(200), index=True)
    from_state: Mapped[str | None] = mapped_column(sa.String(32))
    to_state: Mapped[str] = mapped_column(sa.String(32))
    why: Mapped[str]
    run: Mapped[str]
    sha256: Mapped[str]
