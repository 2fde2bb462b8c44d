"""The ledger: which requests came in, where each one stands, and proof of every change.

One SQL database, SQLite by default. Knows the states of a request, the legal moves between them, batches, and
an append-only, hash-chained audit table. Knows nothing of corpora, models or runs. Every method of Ledger is
one transaction and can be repeated after a kill. Requests hold personal data; the audit table never does.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.errors import InputError
from unilogit.files import sha256_json

SCHEMA_VERSION = 1
SECONDS_TO_WAIT = 30  # for another process to end its transaction
_IDS_PER_QUERY = 1000  # databases bound the parameters of a query
_CREATION_LOCK = 0x756E696C  # any number of our own


class RequestState(StrEnum):
    """Where a request stands."""

    received = "received"
    validated = "validated"
    batched = "batched"
    unlearned = "unlearned"
    awaiting_promotion = "awaiting_promotion"
    fulfilled = "fulfilled"
    no_match = "no_match"
    rejected = "rejected"
    failed = "failed"
    escalated = "escalated"


_S = RequestState
MOVES: dict[RequestState, frozenset[RequestState]] = {
    _S.received: frozenset({_S.validated, _S.rejected}),
    _S.validated: frozenset({_S.batched}),
    _S.batched: frozenset({_S.unlearned, _S.no_match, _S.failed}),
    _S.unlearned: frozenset({_S.awaiting_promotion, _S.failed}),
    _S.awaiting_promotion: frozenset({_S.fulfilled, _S.failed}),  # failed: promotion refused or put back
    _S.failed: frozenset({_S.batched, _S.escalated}),
    _S.escalated: frozenset({_S.unlearned, _S.failed}),
    _S.fulfilled: frozenset(),
    _S.no_match: frozenset(),
    _S.rejected: frozenset(),
}
_IN_WORK = (_S.batched, _S.unlearned)
_ASKED_EARLIER = (_S.unlearned, _S.awaiting_promotion, _S.fulfilled, _S.failed, _S.escalated)


class IllegalMove(Exception):
    """A change of state that the ledger does not allow: a defect of the caller."""


class AuditBroken(InputError):
    """The audit table, or a state it vouches for, was changed behind the ledger's back."""


@dataclass(frozen=True)
class Receipt:
    """What taking in one file did: requests stored, requests known before, and rows refused."""

    file: str
    new: int
    repeated: int
    rejected: int

    def __str__(self) -> str:
        return f"{self.file}: {self.new} new, {self.repeated} taken in before, {self.rejected} rejected"


@dataclass(frozen=True)
class Batch:
    """The open batch and its requests still in work; `resumed` when an earlier call opened it."""

    batch_id: str
    requests: list[DeletionRequest]
    resumed: bool


@dataclass(frozen=True)
class LedgerRow:
    """A request without what it asks, for listings; times are UTC, `origin` is "file:row"."""

    request_id: str
    state: RequestState
    received_at: datetime
    due_at: datetime
    batch_id: str | None
    origin: str


@dataclass(frozen=True)
class RejectedRow:
    """A refused row, without its text, which stays in the quarantine file."""

    file: str
    row: int
    reasons: list[str]
    at: datetime


@dataclass(frozen=True)
class Move:
    """One row of the audit table; `at` is UTC."""

    sequence: int
    at: datetime
    request_id: str
    from_state: RequestState | None
    to_state: RequestState
    why: str
    run: str


def _utc_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


class _UtcTime(sa.TypeDecorator[datetime]):
    """An aware time as UTC text of one width: no database drops its zone, and text order is time order."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        return _utc_text(value) if value else None

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        return datetime.fromisoformat(value) if value else None


class _Table(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012
        datetime: _UtcTime,
        RequestState: sa.Enum(RequestState, native_enum=False, length=32),
        list[str]: sa.JSON,
    }


class _Schema(_Table):
    __tablename__ = "ledger_schema"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class _File(_Table):
    __tablename__ = "ledger_files"
    sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    file: Mapped[str]
    at: Mapped[datetime]
    run: Mapped[str]


class _Request(_Table):
    __tablename__ = "ledger_requests"
    request_id: Mapped[str] = mapped_column(sa.String(200), primary_key=True)
    state: Mapped[RequestState] = mapped_column(index=True)
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    batch_id: Mapped[str | None] = mapped_column(sa.String(32), index=True)
    origin: Mapped[str]
    content: Mapped[str] = mapped_column(sa.Text)
    content_sha256: Mapped[str]


class _Rejection(_Table):
    __tablename__ = "ledger_rejections"
    number: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str]
    row: Mapped[int]
    reasons: Mapped[list[str]]
    at: Mapped[datetime]


class _Batch(_Table):
    __tablename__ = "ledger_batches"
    batch_id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    opened_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    passed: Mapped[bool | None]


class _Audit(_Table):
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
_BY_URGENCY = (_Request.due_at, _Request.received_at, _Request.request_id)


class Ledger:
    """The ledger in one database; a context manager.

    The audit table refuses changes by a trigger on SQLite and PostgreSQL (on another database, revoke the
    rights to UPDATE and DELETE it); its hash chain tells of any that were made all the same.

    Args:
        location: a path (an SQLite file, made with its folder when missing, for its owner's eyes only) or a
            SQLAlchemy URL.

    Raises:
        InputError: the database cannot be opened, is none, or was made by a newer version.
    """

    def __init__(self, location: Path | str) -> None:
        is_url = isinstance(location, str) and "://" in location
        name = "the ledger's URL" if is_url else str(location)
        try:
            url = sa.make_url(str(location)) if is_url else sa.URL.create("sqlite", database=name)
            if is_url:
                name = url.render_as_string(hide_password=True)
            else:
                Path(location).parent.mkdir(parents=True, exist_ok=True)
                Path(location).touch(mode=0o600)
            self._engine = _engine(url)
            self._create(name)
        except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
            cause = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise InputError(f"{name}: cannot be used as a ledger ({cause}); correct its location") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def _create(self, name: str) -> None:
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
            if not sa.inspect(connection).has_table(_Schema.__tablename__):
                _Table.metadata.create_all(connection)
                for statement in _APPEND_ONLY.get(connection.dialect.name, []):
                    connection.exec_driver_sql(statement)
                connection.execute(sa.insert(_Schema).values(version=SCHEMA_VERSION))
            version = connection.execute(sa.select(_Schema.version)).scalar_one()
            if version > SCHEMA_VERSION:
                raise InputError(
                    f"{name}: the ledger has schema version {version}, and this program knows versions up to "
                    f"{SCHEMA_VERSION}; use the newer program that wrote it"
                )

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """All or nothing, and alone: other writers wait, so what was read still holds at the commit."""
        with Session(self._engine) as session, session.begin():
            if self._engine.dialect.name == "sqlite":
                try:
                    session.connection().exec_driver_sql("BEGIN IMMEDIATE")
                except sa.exc.OperationalError as error:
                    raise InputError(f"the ledger cannot be written ({error.orig}); try again later") from error
            session.execute(sa.select(_Schema).with_for_update())  # the lock elsewhere; nothing to SQLite
            yield session

    def _reading(self) -> Session:
        return Session(self._engine)

    def knows_file(self, sha256: str) -> bool:
        """Whether a file with this content was taken in."""
        with self._reading() as session:
            return session.get(_File, sha256) is not None

    def receive(
        self, file: str, sha256: str, requests: list[DeletionRequest], rejections: list[Rejection], run: str
    ) -> Receipt:
        """Take in one file: remember it, store what is new, note what is refused.

        The same request again is counted, not stored; the same request_id with other content is refused. A
        file taken in before changes nothing: all its requests count as repeated.

        Args:
            file: its name, for people.
            sha256: digest of its content.
        """
        now = datetime.now(UTC)
        with self._writing() as session:
            if session.get(_File, sha256):
                return Receipt(file, new=0, repeated=len(requests), rejected=0)
            session.add(_File(sha256=sha256, file=file, at=now, run=run))
            refused = [_Rejection(file=item.file, row=item.row, reasons=item.reasons, at=now) for item in rejections]
            known = _find(session, [request.request_id for request in requests])
            new, repeated = [], 0
            for request in requests:
                row = _as_row(request)
                first = known.setdefault(request.request_id, row)
                if first is row:
                    new.append(row)
                elif first.content_sha256 == row.content_sha256:
                    repeated += 1
                else:
                    reason = (
                        f"request_id {request.request_id} was taken in before with other content "
                        f"({first.origin}); give it an id of its own"
                    )
                    refused.append(_Rejection(file=request.file, row=request.row, reasons=[reason], at=now))
            why = f"file {sha256[:12]}"  # not its name, which may be a person's
            _move(session, new, _S.received, why, run)
            session.add_all([*new, *refused])
            _move(session, new, _S.validated, why, run)
            return Receipt(file, len(new), repeated, len(refused))

    def open_batch(self, cap: int, run: str, retry_failed: bool = False) -> Batch | None:
        """The batch to work on: the open one again, or else a new one of the most urgent requests.

        At most one batch is open at a time.

        Args:
            cap: at most this many requests in a new batch.
            retry_failed: take failed requests too, and first.

        Returns:
            None when no batch is open and nothing waits.
        """
        if cap < 1:
            raise InputError(f"a batch is capped at {cap} requests; make the cap 1 or more")
        with self._writing() as session:
            for batch in session.scalars(sa.select(_Batch).where(_Batch.finished_at.is_(None))):
                if rows := _in_batch(session, batch.batch_id, _IN_WORK):
                    return Batch(batch.batch_id, _contents(rows), resumed=True)
                batch.finished_at = datetime.now(UTC)  # no_match settled its last request before a kill
            takes = [_S.failed, _S.validated] if retry_failed else [_S.validated]
            failed_first = sa.case((_Request.state == _S.failed, 0), else_=1)
            query = sa.select(_Request).where(_Request.state.in_(takes))
            rows = session.scalars(query.order_by(failed_first, *_BY_URGENCY).limit(cap)).all()
            if not rows:
                return None
            now = datetime.now(UTC)
            batch_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
            session.add(_Batch(batch_id=batch_id, opened_at=now))
            _move(session, rows, _S.batched, f"batch {batch_id}", run)
            for row in rows:
                row.batch_id = batch_id
            return Batch(batch_id, _contents(rows), resumed=False)

    def no_match(self, batch_id: str, request_ids: Iterable[str], run: str) -> None:
        """Settle requests of the batch: the corpus holds nothing of theirs. Can be repeated.

        Raises:
            IllegalMove: one of them is not in this batch, or was already unlearned.
        """
        with self._writing() as session:
            rows = {row.request_id: row for row in _in_batch(session, batch_id)}
            ids = list(dict.fromkeys(request_ids))
            if strangers := [name for name in ids if name not in rows]:
                raise IllegalMove(f"batch {batch_id} does not hold request {strangers[0]}")
            moving = [rows[name] for name in ids if rows[name].state != _S.no_match]
            _move(session, moving, _S.no_match, f"batch {batch_id}: nothing in the corpus", run)

    def unlearned(self, batch_id: str, run: str) -> None:
        """The model has unlearned every request of the batch still in work. Can be repeated."""
        with self._writing() as session:
            _move(session, _in_batch(session, batch_id, [_S.batched]), _S.unlearned, f"batch {batch_id}", run)

    def finish_batch(self, batch_id: str, passed: bool | None, run: str, why: str = "") -> None:
        """Close the batch. Repeating it with the same verdict, or with None, changes nothing.

        Args:
            passed: True: what was unlearned awaits promotion. False: what is in work has failed. None: close
                a batch that has nothing in work any more.
            why: goes into the audit table for good: nobody's data.

        Raises:
            IllegalMove: a request of the batch is not as far as the verdict says, or the batch was closed
                with another verdict.
        """
        with self._writing() as session:
            in_work = _in_batch(session, batch_id, _IN_WORK)
            batch = session.get_one(_Batch, batch_id)
            if batch.finished_at is not None:
                if passed not in (None, batch.passed):
                    raise IllegalMove(f"batch {batch_id} was closed with another verdict")
                return
            if passed is None and in_work:
                raise IllegalMove(f"batch {batch_id} still has {len(in_work)} requests in work")
            to = _S.awaiting_promotion if passed else _S.failed
            _move(session, in_work, to, f"batch {batch_id}: {why}" if why else f"batch {batch_id}", run)
            batch.finished_at, batch.passed = datetime.now(UTC), passed

    def earlier_requests(self, batch_id: str) -> list[DeletionRequest]:
        """The requests of other batches whose forgetting the run of this batch replays.

        Failed and escalated ones are among them: the model may still hold their people, who asked to be
        forgotten, so the run must not teach them again.
        """
        with self._reading() as session:
            _in_batch(session, batch_id, [])
            earlier = (_Request.batch_id != batch_id) & _Request.state.in_(_ASKED_EARLIER)
            return _contents(session.scalars(sa.select(_Request).where(earlier).order_by(*_BY_URGENCY)))

    def counts(self) -> dict[str, int]:
        """How many requests stand in each state, zeros included; `rejected` counts the refused rows too."""
        with self._reading() as session:
            counts = dict.fromkeys(map(str, RequestState), 0)
            for state, count in session.execute(sa.select(_Request.state, sa.func.count()).group_by(_Request.state)):
                counts[state] = count
            counts[_S.rejected] += session.scalar(sa.select(sa.func.count(_Rejection.number))) or 0
            return counts

    def requests(self, state: str | None = None) -> list[LedgerRow]:
        """Every request, or those in `state`, the most urgent first.

        Raises:
            InputError: there is no such state.
        """
        if state is not None and state not in set(RequestState):
            raise InputError(f"there is no state {state}; choose one of {', '.join(RequestState)}")
        query = _select(_Request, LedgerRow).order_by(*_BY_URGENCY)
        if state is not None:
            query = query.where(_Request.state == RequestState(state))
        with self._reading() as session:
            return [LedgerRow(*row) for row in session.execute(query)]

    def rejections(self) -> list[RejectedRow]:
        """Every refused row, the oldest first."""
        with self._reading() as session:
            query = _select(_Rejection, RejectedRow).order_by(_Rejection.number)
            return [RejectedRow(*row) for row in session.execute(query)]

    def history(self, request_id: str) -> list[Move]:
        """Every move of a request, the first one first.

        Raises:
            InputError: there is no such request.
        """
        query = _select(_Audit, Move).where(_Audit.request_id == request_id).order_by(_Audit.sequence)
        with self._reading() as session:
            moves = [Move(*row) for row in session.execute(query)]
        if not moves:
            raise InputError(f"there is no request {request_id}; `unilogit requests list` shows every one")
        return moves

    def get(self, request_id: str) -> DeletionRequest | None:
        """What a request asks, or None when there is no such request."""
        with self._reading() as session:
            row = session.get(_Request, request_id)
            return _contents([row])[0] if row else None

    def verify_audit(self) -> int:
        """Check the hash chain, and that every request stands where its last audited move left it.

        Returns:
            How many rows the audit table has.

        Raises:
            AuditBroken: naming the first sequence number that does not fit, or else the request.
        """
        previous, count, stands = "", 0, {}
        columns = sa.text(f"SELECT {', '.join(_Audit.__table__.columns.keys())} FROM ledger_audit ORDER BY sequence")
        with self._writing() as session:
            for count, row in enumerate(session.execute(columns).mappings(), start=1):
                entry = {name: value for name, value in row.items() if name != "sha256"}
                if row["sequence"] != count or row["sha256"] != _link(previous, entry):
                    raise AuditBroken(f"ledger_audit, sequence {count}: was changed or removed; {_RESTORE}")
                previous, stands[row["request_id"]] = row["sha256"], row["to_state"]
            for name, state in session.execute(sa.text("SELECT request_id, state FROM ledger_requests")):
                if stands.pop(name, None) != state:
                    raise AuditBroken(f"request {name} is {state}, but not by an audited move; {_RESTORE}")
        if stands:
            raise AuditBroken(f"request {min(stands)} was audited but is gone; {_RESTORE}")
        return count


_RESTORE = "restore the ledger from a backup"


def _engine(url: sa.URL) -> sa.Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    # Autocommit, so that BEGIN is ours to say; parameters hidden from error messages, being personal data.
    options = {"isolation_level": None, "timeout": SECONDS_TO_WAIT} if is_sqlite else {}
    engine = sa.create_engine(url, connect_args=options, hide_parameters=True)
    if is_sqlite:
        sa.event.listen(engine, "connect", _survive_power_cuts)
    return engine


def _survive_power_cuts(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous = EXTRA").close()  # FULL may lose the last commit


def _as_row(request: DeletionRequest) -> _Request:
    return _Request(
        request_id=request.request_id,
        received_at=request.received_at,
        due_at=request.due_at,
        origin=request.origin,
        content=request.model_dump_json(),
        content_sha256=request.content_sha256,
    )


def _contents(rows: Iterable[_Request]) -> list[DeletionRequest]:
    return [DeletionRequest.model_validate_json(row.content) for row in rows]


def _select(table: type[_Table], shape: type[LedgerRow | RejectedRow | Move]) -> sa.Select[Any]:
    """The columns of `table` that the dataclass `shape` names, in its order."""
    return sa.select(*(getattr(table, field.name) for field in fields(shape)))


def _find(session: Session, request_ids: list[str]) -> dict[str, _Request]:
    known: dict[str, _Request] = {}
    for start in range(0, len(request_ids), _IDS_PER_QUERY):
        wanted = _Request.request_id.in_(request_ids[start : start + _IDS_PER_QUERY])
        known |= {row.request_id: row for row in session.scalars(sa.select(_Request).where(wanted))}
    return known


def _in_batch(
    session: Session, batch_id: str, states: Sequence[RequestState] = tuple(RequestState)
) -> Sequence[_Request]:
    """The requests of a batch in these states; InputError when there is no such batch."""
    if session.get(_Batch, batch_id) is None:
        raise InputError(f"there is no batch {batch_id}; `unilogit requests list` shows every one")
    meant = (_Request.batch_id == batch_id) & _Request.state.in_(states)
    return session.scalars(sa.select(_Request).where(meant).order_by(*_BY_URGENCY)).all()


def _link(previous: str, entry: dict[str, Any]) -> str:
    """The hash of an audit row: over the one before it and every other column as stored."""
    return sha256_json({"previous": previous, **entry})


def _move(session: Session, rows: Iterable[_Request], to: RequestState, why: str, run: str) -> None:
    """Change the state of requests and say so in the audit table: the only way to do either."""
    last = session.scalar(sa.select(_Audit).order_by(_Audit.sequence.desc()).limit(1))
    sequence, previous = (last.sequence, last.sha256) if last else (0, "")
    now = datetime.now(UTC)
    for row in rows:
        if to not in (MOVES[row.state] if row.state else {_S.received}):
            raise IllegalMove(f"request {row.request_id} cannot go from {row.state} to {to}")
        sequence += 1
        entry = {
            "sequence": sequence,
            "at": _utc_text(now),
            "request_id": row.request_id,
            "from_state": row.state,
            "to_state": to,
            "why": why,
            "run": run,
        }
        previous = _link(previous, entry)
        session.add(_Audit(**(entry | {"at": now}), sha256=previous))
        row.state = to
