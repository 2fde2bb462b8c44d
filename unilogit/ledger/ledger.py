"""What can be done with a ledger: take requests in, work through them batch by batch, look things up.

Knows the life of a request from a file to the end of its batch. Every method of Ledger is one transaction and
can be repeated after a kill. Knows neither how rows are stored (tables.py) nor how moves are proved (audit.py).
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy.orm import Session

from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.errors import InputError
from unilogit.ledger import audit
from unilogit.ledger.audit import Move, move
from unilogit.ledger.queries import (
    BY_URGENCY,
    Identity,
    LedgerRow,
    RejectedRow,
    batch_requests,
    check_batch,
    count_states,
    list_rejections,
    list_requests,
    parse_requests,
    stored_identities,
)
from unilogit.ledger.states import IN_WORK, REPLAYED, IllegalMove, RequestState
from unilogit.ledger.tables import BatchRow, FileRow, RejectionRow, RequestRow, open_database, write_transaction


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
        self._engine = open_database(location)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def knows_file(self, sha256: str) -> bool:
        """Whether a file with this content was taken in."""
        with Session(self._engine) as session:
            return session.get(FileRow, sha256) is not None

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
        with write_transaction(self._engine) as session:
            if session.get(FileRow, sha256):
                return Receipt(file, new=0, repeated=len(requests), rejected=0)
            session.add(FileRow(sha256=sha256, file=file, at=now, run=run))
            rejected_rows = [
                RejectionRow(file=item.file, row=item.row, reasons=item.reasons, at=now) for item in rejections
            ]
            identities = stored_identities(session, [request.request_id for request in requests])
            new_rows, repeated = [], 0
            for request in requests:
                identity = Identity(request.content_sha256, request.origin)
                first = identities.setdefault(request.request_id, identity)
                if first is identity:
                    new_rows.append(_as_row(request))
                elif first.content_sha256 == identity.content_sha256:
                    repeated += 1
                else:
                    reason = (
                        f"request_id {request.request_id} was taken in before with other content "
                        f"({first.origin}); give it an id of its own"
                    )
                    rejected_rows.append(RejectionRow(file=request.file, row=request.row, reasons=[reason], at=now))
            why = f"file {sha256[:12]}"  # not its name, which may be a person's
            move(session, new_rows, RequestState.received, why, run)
            session.add_all([*new_rows, *rejected_rows])
            move(session, new_rows, RequestState.validated, why, run)
            return Receipt(file, len(new_rows), repeated, len(rejected_rows))

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
        with write_transaction(self._engine) as session:
            for batch in session.scalars(sa.select(BatchRow).where(BatchRow.finished_at.is_(None))):
                if rows := batch_requests(session, batch.batch_id, IN_WORK):
                    return Batch(batch.batch_id, parse_requests(rows), resumed=True)
                batch.finished_at = datetime.now(UTC)  # no_match settled its last request before a kill
            states = [RequestState.failed, RequestState.validated] if retry_failed else [RequestState.validated]
            failed_first = sa.case((RequestRow.state == RequestState.failed, 0), else_=1)
            query = sa.select(RequestRow).where(RequestRow.state.in_(states))
            rows = session.scalars(query.order_by(failed_first, *BY_URGENCY).limit(cap)).all()
            if not rows:
                return None
            now = datetime.now(UTC)
            batch_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
            session.add(BatchRow(batch_id=batch_id, opened_at=now))
            move(session, rows, RequestState.batched, f"batch {batch_id}", run)
            for row in rows:
                row.batch_id = batch_id
            return Batch(batch_id, parse_requests(rows), resumed=False)

    def no_match(self, batch_id: str, request_ids: Iterable[str], run: str) -> None:
        """Settle requests of the batch: the corpus holds nothing of theirs. Can be repeated.

        Raises:
            IllegalMove: one of them is not in this batch, or was already unlearned.
        """
        with write_transaction(self._engine) as session:
            rows = {row.request_id: row for row in batch_requests(session, batch_id)}
            ids = list(dict.fromkeys(request_ids))
            if strangers := [name for name in ids if name not in rows]:
                raise IllegalMove(f"batch {batch_id} does not hold request {strangers[0]}")
            unsettled = [rows[name] for name in ids if rows[name].state != RequestState.no_match]
            move(session, unsettled, RequestState.no_match, f"batch {batch_id}: nothing in the corpus", run)

    def unlearned(self, batch_id: str, run: str) -> None:
        """The model has unlearned every request of the batch still in work. Can be repeated."""
        with write_transaction(self._engine) as session:
            batched = batch_requests(session, batch_id, [RequestState.batched])
            move(session, batched, RequestState.unlearned, f"batch {batch_id}", run)

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
        with write_transaction(self._engine) as session:
            in_work = batch_requests(session, batch_id, IN_WORK)
            batch = session.get_one(BatchRow, batch_id)
            if batch.finished_at is not None:
                if passed not in (None, batch.passed):
                    raise IllegalMove(f"batch {batch_id} was closed with another verdict")
                return
            if passed is None and in_work:
                raise IllegalMove(f"batch {batch_id} still has {len(in_work)} requests in work")
            target = RequestState.awaiting_promotion if passed else RequestState.failed
            move(session, in_work, target, f"batch {batch_id}: {why}" if why else f"batch {batch_id}", run)
            batch.finished_at, batch.passed = datetime.now(UTC), passed

    def earlier_requests(self, batch_id: str) -> list[DeletionRequest]:
        """The requests of other batches whose forgetting the run of this batch replays.

        Failed and escalated ones are among them: the model may still hold their people, who asked to be
        forgotten, so the run must not teach them again.
        """
        with Session(self._engine) as session:
            check_batch(session, batch_id)
            query = sa.select(RequestRow).where(RequestRow.batch_id != batch_id, RequestRow.state.in_(REPLAYED))
            return parse_requests(session.scalars(query.order_by(*BY_URGENCY)))

    def counts(self) -> dict[str, int]:
        """How many requests stand in each state, zeros included; `rejected` counts the refused rows too."""
        with Session(self._engine) as session:
            return count_states(session)

    def requests(self, state: str | None = None) -> list[LedgerRow]:
        """Every request, or those in `state`, the most urgent first.

        Raises:
            InputError: there is no such state.
        """
        if state is not None and state not in set(RequestState):
            raise InputError(f"there is no state {state}; choose one of {', '.join(RequestState)}")
        with Session(self._engine) as session:
            return list_requests(session, None if state is None else RequestState(state))

    def rejections(self) -> list[RejectedRow]:
        """Every refused row, the oldest first."""
        with Session(self._engine) as session:
            return list_rejections(session)

    def history(self, request_id: str) -> list[Move]:
        """Every move of a request, the first one first.

        Raises:
            InputError: there is no such request.
        """
        with Session(self._engine) as session:
            moves = audit.history(session, request_id)
        if not moves:
            raise InputError(f"there is no request {request_id}; `unilogit requests list` shows every one")
        return moves

    def get(self, request_id: str) -> DeletionRequest | None:
        """What a request asks, or None when there is no such request."""
        with Session(self._engine) as session:
            row = session.get(RequestRow, request_id)
            return parse_requests([row])[0] if row else None

    def verify_audit(self) -> int:
        """Check the hash chain, and that every request stands where its last audited move left it.

        Returns:
            How many rows the audit table has.

        Raises:
            AuditBroken: naming the first sequence number that does not fit, or else the request.
        """
        with write_transaction(self._engine) as session:
            return audit.verify(session)


def _as_row(request: DeletionRequest) -> RequestRow:
    return RequestRow(
        request_id=request.request_id,
        received_at=request.received_at,
        due_at=request.due_at,
        origin=request.origin,
        content=request.model_dump_json(),
        content_sha256=request.content_sha256,
    )
