"""The audit table: every move of a request, each row hashed together with the hash of the row before it.

The only module that changes the state of a request. Knows nothing of files, batches or what a request asks.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from json.encoder import encode_basestring
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from unilogit.errors import InputError
from unilogit.ledger.states import RequestState, check_move
from unilogit.ledger.tables import AuditRow, RequestRow, insert_rows, utc_text

CHUNK = 5000  # rows at a time: memory does not grow with their number
_RESTORE = "restore the ledger from a backup"
_STORED = ("sequence", "sha256", "at", "request_id", "from_state", "to_state", "why", "run")
_IN_ORDER = f"SELECT {', '.join(_STORED)} FROM ledger_audit ORDER BY sequence"
_UNPROVEN = """
    SELECT name, MAX(state) FROM (
        SELECT reference AS name, state, NULL AS audited FROM ledger_requests UNION ALL
        SELECT request_id, NULL, to_state FROM (
            SELECT request_id, to_state, ROW_NUMBER() OVER (PARTITION BY request_id ORDER BY sequence DESC) AS place
            FROM ledger_audit
        ) AS moves WHERE place = 1
    ) AS standings
    GROUP BY name HAVING COALESCE(MAX(state), '') <> COALESCE(MAX(audited), '') ORDER BY name LIMIT 1"""
# No join: a planner without statistics may take hours for one.
T = TypeVar("T")


class AuditBroken(InputError):
    """The audit table, or a state it vouches for, was changed behind the ledger's back."""


class Entry(NamedTuple):
    """What an audit row says of a request; the states differ unless something else was done to it than a move."""

    reference: str
    from_state: str | None
    to_state: str
    why: str


class Standing(NamedTuple):
    """A request and where it stands."""

    reference: str
    state: RequestState


@dataclass(frozen=True)
class Move:
    """One row of the audit table; `at` is UTC.

    States are called as they were at the time: older ledgers know a `no_match`.
    """

    sequence: int
    at: datetime
    reference: str
    from_state: str | None
    to_state: str
    why: str
    run: str


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def move(
    connection: sa.Connection, rows: Iterable[Standing], target: RequestState, why: str | Mapping[str, str], run: str
) -> None:
    """Change the state of stored requests and say so in the audit table.

    Args:
        why: one for all or one for each reference; goes into the audit table for good: nobody's data.
        run: by which run, or which person.

    Raises:
        IllegalMove: one of them cannot go there.
    """
    for chunk in chunks(rows):
        for reference, state in chunk:
            check_move(reference, state, target)
        reasons = why if isinstance(why, Mapping) else dict.fromkeys((reference for reference, _ in chunk), why)
        record(connection, (Entry(name, state, target, reasons[name]) for name, state in chunk), run)
        update(connection, [reference for reference, _ in chunk], state=target)


def update(connection: sa.Connection, references: Iterable[str], **values: object) -> None:
    """Set columns of requests; the state only by `move`."""
    for chunk in chunks(references):
        connection.execute(sa.update(RequestRow).where(RequestRow.reference.in_(chunk)).values(values))


def record(connection: sa.Connection, entries: Iterable[Entry], run: str) -> None:
    """Append to the audit table what was done to requests, without moving them."""
    last = sa.select(AuditRow.sequence, AuditRow.sha256).order_by(AuditRow.sequence.desc()).limit(1)
    sequence, previous = connection.execute(last).tuples().one_or_none() or (0, "")
    moment = utc_text(datetime.now(UTC))
    for chunk in chunks(entries):
        rows: list[tuple[str | int | None, ...]] = []
        for name, from_state, to_state, why in chunk:
            sequence += 1
            previous = _chained_sha256(previous, sequence, moment, name, from_state, to_state, why, run)
            rows.append((sequence, previous, moment, name, from_state, to_state, why, run))
        insert_rows(connection, AuditRow, _STORED, rows)


def history(connection: sa.Connection, reference: str) -> list[Move]:
    """Every audit row of a request, the first one first; empty when there is none."""
    columns = (
        AuditRow.sequence,
        AuditRow.at,
        AuditRow.request_id,
        AuditRow.from_state,
        AuditRow.to_state,
        AuditRow.why,
        AuditRow.run,
    )
    query = sa.select(*columns).where(AuditRow.request_id == reference).order_by(AuditRow.sequence)
    return [Move(*row) for row in connection.execute(query)]


def verify(connection: sa.Connection) -> int:
    """Check the hash chain, and that every request stands where its last audited move left it.

    Returns:
        How many rows the audit table has.

    Raises:
        AuditBroken: naming the first sequence number that does not fit, or else the request.
    """
    previous, count = "", 0
    # In plain SQL: the hash is over what is stored.
    rows = connection.execute(sa.text(_IN_ORDER), execution_options={"yield_per": CHUNK})
    for count, (sequence, stored, *values) in enumerate(rows, start=1):
        try:
            expected = _chained_sha256(previous, sequence, *values)
        except TypeError:  # no text, where we only ever wrote text
            expected = None
        if sequence != count or stored != expected:
            raise AuditBroken(f"ledger_audit, sequence {count}: was changed or removed; {_RESTORE}")
        previous = stored
    if unproven := connection.execute(sa.text(_UNPROVEN)).one_or_none():
        reference, state = unproven
        fault = f"is {state}, but not by an audited move" if state else "was audited but is gone"
        raise AuditBroken(f"request {reference} {fault}; {_RESTORE}")
    return count


def _chained_sha256(
    previous: str, sequence: int, at: str, request_id: str, from_state: str | None, to_state: str, why: str, run: str
) -> str:
    """The hash of an audit row: over the one before it and every other column as stored.

    It is the SHA-256 of the object of these in JSON, in UTF-8, with sorted keys and no white space, written out here
    as a ledger hashes millions.
    """
    quoted = encode_basestring
    text = (
        f'{{"at":{quoted(at)},"from_state":{"null" if from_state is None else quoted(from_state)},'
        f'"previous":{quoted(previous)},"request_id":{quoted(request_id)},"run":{quoted(run)},'
        f'"sequence":{sequence},"to_state":{quoted(to_state)},"why":{quoted(why)}}}'
    )
    return hashlib.sha256(text.encode()).hexdigest()
