"""The ledger's database: how to open it, bring it up to date, lock it, and read and write it in transactions.

Knows SQLite and PostgreSQL. Knows nothing of what the tables hold.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine.interfaces import DBAPIConnection

from unilogit.errors import AnotherRuns, InputError, TemporaryError
from unilogit.ledger.tables import SchemaRow

SCHEMA_VERSION = 3  # the last of migrations/versions
SECONDS_TO_WAIT = 30  # for another process to end its transaction
SECONDS_TO_NOTICE_A_DEATH = 5  # a server's, of the process whose connection it was
_UPGRADE_LOCK, _RUN_LOCK = 0x756E696C, 0x756E696D  # any numbers of our own
_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's word for a lock not had in time
_ON_CONNECT = [
    "PRAGMA synchronous = EXTRA",  # FULL may lose the last commit in a power cut
    "PRAGMA cache_size = -65536",  # KiB: what an import of any size takes
]


class Database:
    """The ledger's database; a context manager.

    Args:
        location: a path (an SQLite file, made with its folder when missing, for its owner's eyes only) or a
            SQLAlchemy URL of SQLite or PostgreSQL.

    Raises:
        InputError: the database cannot be opened, is none, or was made by a newer version.
    """

    def __init__(self, location: Path | str) -> None:
        self._engine = open_database(location)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    @contextmanager
    def run_lock(self) -> Iterator[None]:
        """The right to work on batches, of one process in the world; freed when it dies.

        Raises:
            AnotherRuns: another process has it.
        """
        busy = AnotherRuns(f"another run works with {_name(self._engine.url)}; wait for it to end, then try again")
        if self._engine.dialect.name == "sqlite":
            try:
                with FileLock(f"{self._engine.url.database}.lock", timeout=0, mode=0o600):
                    yield
            except Timeout:
                raise busy from None
            return
        # A lock of the session, which the server ends with the connection: soon after a process died, not at once.
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"SET lock_timeout = '{SECONDS_TO_NOTICE_A_DEATH}s'")
            schema = connection.execute(sa.select(sa.func.current_schema())).scalar_one()
            key = sa.func.pg_advisory_lock(_RUN_LOCK, sa.cast(zlib.crc32(schema.encode()) >> 1, sa.Integer))
            try:
                try:
                    connection.execute(sa.select(key))
                except sa.exc.OperationalError as error:
                    raise (busy if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE else error) from None
                yield
            finally:
                connection.detach()  # closed, not pooled: so is the lock

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """All or nothing, and alone: other writers wait, so what was read still holds at the commit.

        Raises:
            TemporaryError: another process writes for SECONDS_TO_WAIT, or the database cannot be written.
        """
        with self._engine.connect() as connection, connection.begin():
            try:
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{SECONDS_TO_WAIT}s'")
                version = connection.execute(sa.select(SchemaRow.version).with_for_update()).scalar_one()
            except sa.exc.OperationalError as error:
                raise TemporaryError(f"the ledger cannot be written ({_cause(error)}); try again later") from error
            _refuse_newer(version, _name(self._engine.url))
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """What stood in the database at one moment.

        Raises:
            TemporaryError: another process writes for SECONDS_TO_WAIT, or the database cannot be read.
        """
        is_sqlite = self._engine.dialect.name == "sqlite"
        options = {} if is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._engine.connect().execution_options(**options) as connection:
            try:
                if is_sqlite:
                    connection.exec_driver_sql("BEGIN")
                connection.execute(sa.select(SchemaRow.version))
            except sa.exc.OperationalError as error:
                raise TemporaryError(f"the ledger cannot be read ({_cause(error)}); try again later") from error
            yield connection

    def _compact(self) -> None:
        """Have the database forget what its rows no longer say; others wait meanwhile.

        Overwriting is not enough: copies stay where pages were split, in SQLite even with secure_delete.
        """
        statement = "VACUUM" if self._engine.dialect.name == "sqlite" else "VACUUM FULL ledger_requests"
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            try:
                connection.exec_driver_sql(statement)
            except sa.exc.OperationalError as error:
                raise TemporaryError(f"the ledger cannot be compacted ({_cause(error)}); try again later") from error


def open_database(location: Path | str) -> sa.Engine:
    """Connect to the ledger's database, with its tables made or brought up to date.

    Args:
        location: as that of Database.

    Raises:
        InputError: the database cannot be opened, is none, or was made by a newer version.
    """
    is_url = isinstance(location, str) and "://" in location
    name = "the ledger's URL" if is_url else str(location)
    try:
        url = sa.make_url(str(location)) if is_url else sa.URL.create("sqlite", database=name)
        if is_url:
            name = _name(url)
        else:
            Path(location).parent.mkdir(parents=True, exist_ok=True)
            Path(location).touch(mode=0o600)
        engine = _connect(url)
        if engine.dialect.name not in ("sqlite", "postgresql") or url.database in (None, ":memory:"):
            raise InputError(f"{name}: a ledger lives in an SQLite file or a PostgreSQL database; name one")
        _bring_up_to_date(engine, name)
    except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
        raise InputError(f"{name}: cannot be used as a ledger ({_cause(error)}); correct its location") from error
    return engine


def _connect(url: sa.URL) -> sa.Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    # Autocommit, so that BEGIN is ours to say; parameters hidden from error messages, being personal data.
    options = {"isolation_level": None, "timeout": SECONDS_TO_WAIT} if is_sqlite else {}
    engine = sa.create_engine(url, connect_args=options, hide_parameters=True)
    if is_sqlite:
        sa.event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    for statement in _ON_CONNECT:
        cursor.execute(statement)
    cursor.close()


def _bring_up_to_date(engine: sa.Engine, name: str) -> None:
    """Run the migrations that are missing, in one transaction that no other process runs meanwhile."""
    with engine.connect() as connection:
        version = _version(connection)
    _refuse_newer(version, name)
    if version == SCHEMA_VERSION:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
        version = _version(connection, locked=True)  # another process may have been first
        _refuse_newer(version, name)
        if version < SCHEMA_VERSION:
            config.attributes["connection"] = connection
            if version == 1:  # made before there were migrations
                command.stamp(config, "1")
            command.upgrade(config, "head")


def _version(connection: sa.Connection, locked: bool = False) -> int:
    """The version of the tables, 0 when there are none; `locked` against writers until the transaction ends."""
    if not sa.inspect(connection).has_table(SchemaRow.__tablename__):
        return 0
    query = sa.select(SchemaRow.version)
    return connection.execute(query.with_for_update() if locked else query).scalar_one()


def _refuse_newer(version: int, name: str) -> None:
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{name}: the ledger has schema version {version}, and this program knows versions up to "
            f"{SCHEMA_VERSION}; use the newer program that wrote it"
        )


def _name(url: sa.URL) -> str:
    """A location without its password."""
    return url.render_as_string(hide_password=True)


def _cause(error: Exception) -> str:
    """The first line of what the database said."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]
