"""The ledger's database: its tables, the triggers that guard the audit table, and how to open and lock it.

Knows how things are stored on SQLite, PostgreSQL and other SQL databases. Knows nothing of what changes a row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from unilogit.errors import InputError
from unilogit.ledger.states import RequestState

SCHEMA_VERSION = 1
SECONDS_TO_WAIT = 30  # for another process to end its transaction
_CREATION_LOCK = 0x756E696C  # any number of our own


def utc_text(time: datetime) -> str:
    """An aware time as it is stored: UTC, ISO 8601 with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


class _UtcTime(sa.TypeDecorator[datetime]):
    """An aware time as UTC text of one width: no database drops its zone, and text order is time order."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        return utc_text(value) if value else None

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        return datetime.fromisoformat(value) if value else None


class _Table(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        datetime: _UtcTime,
        RequestState: sa.Enum(RequestState, native_enum=False, length=32),
        list[str]: sa.JSON,
    }


class SchemaRow(_Table):
    """The version of these tables: one row."""

    __tablename__ = "ledger_schema"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class FileRow(_Table):
    """A file that was taken in, known again by the digest of its content."""

    __tablename__ = "ledger_files"
    sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    file: Mapped[str]
    at: Mapped[datetime]
    run: Mapped[str]


class RequestRow(_Table):
    """A request: where it stands, and as `content` the whole of it in JSON."""

    __tablename__ = "ledger_requests"
    request_id: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    state: Mapped[RequestState] = mapped_column(index=True)
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    batch_id: Mapped[str | None] = mapped_column(sa.String(32), index=True)
    origin: Mapped[str]
    content: Mapped[str] = mapped_column(sa.Text)
    content_sha256: Mapped[str]


class RejectionRow(_Table):
    """A refused row of a file, without its text."""

    __tablename__ = "ledger_rejections"
    number: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str]
    row: Mapped[int]
    reasons: Mapped[list[str]]
    at: Mapped[datetime]


class BatchRow(_Table):
    """A batch; `finished_at` is None while it is open."""

    __tablename__ = "ledger_batches"
    batch_id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    opened_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    passed: Mapped[bool | None]


class AuditRow(_Table):
    """One move of one request; `sha256` chains it to the row before."""

    __tablename__ = "ledger_audit"
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    request_id: Mapped[str] = mapped_column(sa.String(200), index=True)
    from_state: Mapped[RequestState | None]
    to_state: Mapped[RequestState]
    why: Mapped[str]
    run: Mapped[str]
    sha256: Mapped[str]


_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER ledger_audit_no_{verb} BEFORE {verb} ON ledger_audit "
        "BEGIN SELECT RAISE(ABORT, 'ledger_audit is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION ledger_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'ledger_audit is append-only'; END $$",
        "CREATE TRIGGER ledger_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_audit_refuse()",
    ],
}


def open_database(location: Path | str) -> sa.Engine:
    """Connect to the ledger's database, with its tables made when they are missing.

    Args:
        location: a path (an SQLite file, made with its folder when missing, for its owner's eyes only) or a
            SQLAlchemy URL.

    Raises:
        InputError: the database cannot be opened, is none, or was made by a newer version.
    """
    is_url = isinstance(location, str) and "://" in location
    name = "the ledger's URL" if is_url else str(location)
    try:
        url = sa.make_url(str(location)) if is_url else sa.URL.create("sqlite", database=name)
        if is_url:
            name = url.render_as_string(hide_password=True)
        else:
            Path(location).parent.mkdir(parents=True, exist_ok=True)
            Path(location).touch(mode=0o600)
        engine = _connect(url)
        _create_tables(engine, name)
    except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise InputError(f"{name}: cannot be used as a ledger ({cause}); correct its location") from error
    return engine


def _connect(url: sa.URL) -> sa.Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    # Autocommit, so that BEGIN is ours to say; parameters hidden from error messages, being personal data.
    options = {"isolation_level": None, "timeout": SECONDS_TO_WAIT} if is_sqlite else {}
    engine = sa.create_engine(url, connect_args=options, hide_parameters=True)
    if is_sqlite:
        sa.event.listen(engine, "connect", _survive_power_cuts)
    return engine


def _survive_power_cuts(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = EXTRA")  # FULL may lose the last commit
    cursor.close()


def _create_tables(engine: sa.Engine, name: str) -> None:
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
        if not sa.inspect(connection).has_table(SchemaRow.__tablename__):
            _Table.metadata.create_all(connection)
            for statement in _APPEND_ONLY.get(connection.dialect.name, []):
                connection.exec_driver_sql(statement)
            connection.execute(sa.insert(SchemaRow).values(version=SCHEMA_VERSION))
        version = connection.execute(sa.select(SchemaRow.version)).scalar_one()
        if version > SCHEMA_VERSION:
            raise InputError(
                f"{name}: the ledger has schema version {version}, and this program knows versions up to "
                f"{SCHEMA_VERSION}; use the newer program that wrote it"
            )


@contextmanager
def write_transaction(engine: sa.Engine) -> Iterator[Session]:
    """All or nothing, and alone: other writers wait, so what was read still holds at the commit.

    Raises:
        InputError: another process holds the SQLite file for SECONDS_TO_WAIT, or it cannot be written.
    """
    with Session(engine) as session, session.begin():
        if engine.dialect.name == "sqlite":
            try:
                session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            except sa.exc.OperationalError as error:
                raise InputError(f"the ledger cannot be written ({error.orig}); try again later") from error
        session.execute(sa.select(SchemaRow).with_for_update())  # the lock elsewhere; nothing to SQLite
        yield session
