"""The audit table: every move of a request, each row hashed together with the hash of the row before it.

The only module that changes the state of a request. Knows nothing of files, batches or what a request asks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from unilogit.errors import InputError
from unilogit.files import sha256_json
from unilogit.ledger.states import RequestState, check_move
from unilogit.ledger.tables import AuditRow, RequestRow, utc_text

_RESTORE = "restore the ledger from a backup"


class AuditBroken(InputError):
    """The audit table, or a state it vouches for, was changed behind the ledger's back."""


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


def move(session: Session, rows: Iterable[RequestRow], target: RequestState, why: str, run: str) -> None:
    """Change the state of requests and say so in the audit table.

    Args:
        rows: requests of `session`, or new ones that stand nowhere yet.
        why: goes into the audit table for good: nobody's data.

    Raises:
        IllegalMove: one of them cannot go there.
    """
    last = session.scalar(sa.select(AuditRow).order_by(AuditRow.sequence.desc()).limit(1))
    sequence, previous = (last.sequence, last.sha256) if last else (0, "")
    now = datetime.now(UTC)
    for row in rows:
        check_move(row.request_id, row.state, target)
        sequence += 1
        entry: dict[str, str | int | None] = {
            "sequence": sequence,
            "at": utc_text(now),
            "request_id": row.request_id,
            "from_state": row.state,
            "to_state": target,
            "why": why,
            "run": run,
        }
        previous = _chained_sha256(previous, entry)
        session.add(AuditRow(**{**entry, "at": now}, sha256=previous))
        row.state = target


def history(session: Session, request_id: str) -> list[Move]:
    """Every move of a request, the first one first; empty when there is no such request."""
    query = sa.select(AuditRow).where(AuditRow.request_id == request_id).order_by(AuditRow.sequence)
    return [
        Move(row.sequence, row.at, row.request_id, row.from_state, row.to_state, row.why, row.run)
        for row in session.scalars(query)
    ]


def verify(session: Session) -> int:
    """Check the hash chain, and that every request stands where its last audited move left it.

    Returns:
        How many rows the audit table has.

    Raises:
        AuditBroken: naming the first sequence number that does not fit, or else the request.
    """
    previous, count = "", 0
    audited_states: dict[str, str] = {}
    columns = ", ".join(AuditRow.__table__.columns.keys())  # in plain SQL: the hash is over what is stored
    rows = session.execute(sa.text(f"SELECT {columns} FROM ledger_audit ORDER BY sequence"))
    for count, row in enumerate(rows.mappings(), start=1):
        entry = {name: value for name, value in row.items() if name != "sha256"}
        if row["sequence"] != count or row["sha256"] != _chained_sha256(previous, entry):
            raise AuditBroken(f"ledger_audit, sequence {count}: was changed or removed; {_RESTORE}")
        previous, audited_states[row["request_id"]] = row["sha256"], row["to_state"]
    for request_id, state in session.execute(sa.text("SELECT request_id, state FROM ledger_requests")):
        if audited_states.pop(request_id, None) != state:
            raise AuditBroken(f"request {request_id} is {state}, but not by an audited move; {_RESTORE}")
    if audited_states:
        raise AuditBroken(f"request {min(audited_states)} was audited but is gone; {_RESTORE}")
    return count


def _chained_sha256(previous: str, entry: Mapping[str, str | int | None]) -> str:
    """The hash of an audit row: over the one before it and every other column as stored."""
    return sha256_json({"previous": previous, **entry})
