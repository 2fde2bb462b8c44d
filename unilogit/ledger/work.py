"""The life of a batch: what it takes, what is told of its requests, and how it ends.

Every method is one transaction and can be repeated after a kill. Knows nothing of what people decide (decisions.py).
"""

import logging
import secrets
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError
from unilogit.ledger.audit import Entry, Standing, move, record, update
from unilogit.ledger.batches import (
    Batch,
    batch_rows,
    close_batch,
    get_batch,
    load_batch,
    references,
    set_batch,
    still_batched,
    withdrawn_members,
)
from unilogit.ledger.database import Database
from unilogit.ledger.queries import BY_URGENCY, as_request
from unilogit.ledger.states import IN_WORK, REPLAYED, IllegalMove, RequestState
from unilogit.ledger.tables import BatchRow, MemberRow, RequestRow

log = logging.getLogger(__name__)
_S = RequestState


class Work(Database):
    """The part of Ledger that batches are worked through with."""

    def open_batch(
        self, cap: int, run: str, corpus: str, max_attempts: int, retry_failed: bool = False
    ) -> Batch | None:
        """The batch to work on: the open one again, or else a new one.

        A new one takes validated requests, the most urgent first, then watched ones that were not yet looked for in
        this corpus, the longest unsearched first. At most one batch is open at a time. One that was taken up
        `max_attempts` times without an end is closed: its requests have failed.

        Args:
            cap: at most this many requests in a new batch.
            corpus: digest of the corpus that will be searched.
            retry_failed: take failed requests too, and first.

        Returns:
            None when no batch is open and nothing waits.
        """
        if cap < 1:
            raise InputError(f"a batch is capped at {cap} requests; make the cap 1 or more")
        if max_attempts < 1:
            raise InputError(f"a batch may be taken up {max_attempts} times; make it 1 or more")
        with self._writing() as connection:
            still_open = sa.select(BatchRow.batch_id, BatchRow.attempts).where(BatchRow.finished_at.is_(None))
            for batch_id, attempts in connection.execute(still_open).tuples().all():
                in_work = batch_rows(connection, batch_id, IN_WORK)
                if in_work and attempts < max_attempts:
                    set_batch(connection, batch_id, attempts=attempts + 1)
                    return load_batch(connection, batch_id, attempts + 1)
                if in_work:
                    why = f"taken up {attempts} times without an end"
                    log.warning("batch %s was %s: its %d requests have failed", batch_id, why, len(in_work))
                    move(connection, in_work, _S.failed, f"batch {batch_id}: {why}", run)
                close_batch(
                    connection, batch_id, passed=False if in_work else None
                )  # None: a kill before it was closed
            rows = _waiting(connection, cap, corpus, retry_failed)
            if not rows:
                return None
            now = datetime.now(UTC)
            batch_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
            connection.execute(sa.insert(BatchRow).values(batch_id=batch_id, opened_at=now, attempts=1))
            members = [{"batch_id": batch_id, "reference": name, "withdrawn": False} for name, _ in rows]
            connection.execute(sa.insert(MemberRow), members)
            move(connection, rows, _S.batched, f"batch {batch_id}", run)
            update(connection, [name for name, _ in rows], batch_id=batch_id)
            return load_batch(connection, batch_id, 1)

    def spare_attempt(self, batch_id: str) -> None:
        """Do not count the last time that the open batch was taken up: what ended it was no fault of the batch."""
        with self._writing() as connection:
            attempts = connection.execute(
                sa.select(BatchRow.attempts).where(BatchRow.batch_id == batch_id, BatchRow.finished_at.is_(None))
            ).scalar_one_or_none()
            if attempts is not None and attempts > 1:  # the first makes a batch
                set_batch(connection, batch_id, attempts=attempts - 1)

    def watch(self, batch_id: str, names: Iterable[str], corpus: str, run: str) -> None:
        """Requests of the batch of which nothing is in the corpus: watched from now on. Can be repeated.

        Args:
            names: references or request_ids.
            corpus: digest of the corpus that was searched.

        Raises:
            IllegalMove: one of them is not in this batch, or was already unlearned.
        """
        with self._writing() as connection:
            rows = still_batched(connection, batch_id, names, _S.watched)
            move(connection, rows, _S.watched, f"batch {batch_id}: nothing in the corpus", run)
            now = datetime.now(UTC)
            first = sa.func.coalesce(RequestRow.watched_since, sa.literal(now, RequestRow.watched_since.type))
            names = [name for name, _ in rows]
            update(connection, names, watched_since=first, searched_at=now, searched_corpus=corpus)

    def hold(self, batch_id: str, reasons: Mapping[str, list[str]], run: str) -> None:
        """Requests of the batch that a person must look at first, by reference or request_id. Can be repeated.

        Args:
            reasons: why each is held; goes into the audit table for good: nobody's data.

        Raises:
            IllegalMove: one of them is not in this batch, or was already unlearned.
        """
        with self._writing() as connection:
            rows = still_batched(connection, batch_id, reasons, _S.held)
            ids = references(connection, batch_id)
            by_reference = {ids[name]: texts for name, texts in reasons.items()}
            why = {name: f"batch {batch_id}: {'; '.join(by_reference[name])}" for name, _ in rows}
            move(connection, rows, _S.held, why, run)
            for name, _ in rows:
                update(connection, [name], held_reasons=by_reference[name])

    def begin_training(self, batch_id: str, run: str, left_out: Collection[str] = ()) -> list[str]:
        """Ask whether training may begin: once it has, no request of the batch can be withdrawn. Can be repeated.

        Args:
            left_out: references of withdrawn requests that the caller has taken out of what will be trained on.

        Returns:
            References of the requests that were withdrawn since the batch was taken and must be left out too. Empty:
            the batch is now in training.
        """
        with self._writing() as connection:
            if get_batch(connection, batch_id).finished_at is not None:
                raise IllegalMove(f"batch {batch_id} is closed")
            withdrawn = [name for name in withdrawn_members(connection, batch_id) if name not in left_out]
            if not withdrawn and get_batch(connection, batch_id).training_at is None:
                rows = batch_rows(connection, batch_id, [_S.batched])
                why = f"batch {batch_id}: training begins"
                record(connection, (Entry(name, state, state, why) for name, state in rows), run)
                set_batch(connection, batch_id, training_at=datetime.now(UTC))
            return withdrawn

    def unlearned(self, batch_id: str, run: str) -> None:
        """The model has unlearned every request of the batch still in work. Can be repeated."""
        with self._writing() as connection:
            rows = batch_rows(connection, batch_id, [_S.batched])
            move(connection, rows, _S.unlearned, f"batch {batch_id}", run)

    def put_back(self, batch_id: str, run: str, why: str) -> None:
        """Close a batch that cannot go on: its requests wait again. Can be repeated.

        Args:
            why: goes into the audit table for good: nobody's data.

        Raises:
            IllegalMove: the model has unlearned it already, or it was closed with a verdict.
        """
        with self._writing() as connection:
            batch = get_batch(connection, batch_id)
            if batch.passed is not None or batch_rows(connection, batch_id, [_S.unlearned]):
                raise IllegalMove(f"batch {batch_id} was unlearned or closed already; it cannot be put back")
            if batch.finished_at is not None:
                return
            rows = batch_rows(connection, batch_id, [_S.batched])
            move(connection, rows, _S.validated, f"batch {batch_id} put back: {why}", run)
            update(connection, [name for name, _ in rows], batch_id=None)
            close_batch(connection, batch_id, passed=None)

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
        with self._writing() as connection:
            batch = get_batch(connection, batch_id)
            if batch.finished_at is not None:
                if passed not in (None, batch.passed):
                    raise IllegalMove(f"batch {batch_id} was closed with another verdict")
                return
            in_work = batch_rows(connection, batch_id, IN_WORK)
            if passed is None and in_work:
                raise IllegalMove(f"batch {batch_id} still has {len(in_work)} requests in work")
            target = _S.awaiting_promotion if passed else _S.failed
            move(connection, in_work, target, f"batch {batch_id}: {why}" if why else f"batch {batch_id}", run)
            close_batch(connection, batch_id, passed)

    def rejudge(self, batch_id: str, run: str) -> None:
        """A batch that failed its gates passes others: what it had unlearned awaits promotion. Can be repeated.

        Raises:
            InputError: it was not judged, or its requests are another batch's by now.
        """
        with self._writing() as connection:
            batch = get_batch(connection, batch_id)
            if batch.passed:
                return
            rows = batch_rows(connection, batch_id, [_S.failed])
            if batch.passed is None or not rows:
                reason = "has not been judged" if batch.passed is None else "has no request left that failed"
                raise InputError(f"batch {batch_id} {reason}, so there is nothing to judge again")
            move(connection, rows, _S.awaiting_promotion, f"batch {batch_id} passed other gates", run)
            close_batch(connection, batch_id, passed=True)

    def give_up(self, batch_id: str, run: str, why: str) -> None:
        """The batch's model will not be used: what it had unlearned waits again. Can be repeated.

        Args:
            why: goes into the audit table for good: nobody's data.
        """
        with self._writing() as connection:
            batch = get_batch(connection, batch_id)
            rows = batch_rows(connection, batch_id, [_S.unlearned, _S.awaiting_promotion, _S.fulfilled])
            move(connection, rows, _S.validated, f"batch {batch_id} given up: {why}", run)
            update(connection, [name for name, _ in rows], batch_id=None, certificate_sha256=None)
            if batch.finished_at is None and not batch_rows(connection, batch_id, IN_WORK):
                close_batch(connection, batch_id, passed=None)

    def earlier_requests(self, batch_id: str) -> list[DeletionRequest]:
        """The requests of other batches whose forgetting the run of this batch replays.

        Failed and escalated ones are among them: the model may still hold their people, who asked to be
        forgotten, so the run must not teach them again.
        """
        with self._reading() as connection:
            get_batch(connection, batch_id)
            query = sa.select(RequestRow.reference, RequestRow.content)
            query = query.where(RequestRow.batch_id != batch_id, RequestRow.state.in_(REPLAYED))
            return [as_request(*row) for row in connection.execute(query.order_by(*BY_URGENCY))]


def _waiting(connection: sa.Connection, cap: int, corpus: str, retry_failed: bool) -> list[Standing]:
    """At most `cap` requests for a new batch, in three queries that an index answers each."""
    unsearched = sa.or_(RequestRow.searched_corpus.is_(None), RequestRow.searched_corpus != corpus)
    kinds = [
        (RequestRow.state == _S.failed, BY_URGENCY),
        (RequestRow.state == _S.validated, BY_URGENCY),
        (sa.and_(RequestRow.state == _S.watched, unsearched), (RequestRow.searched_at, *BY_URGENCY)),
    ]
    rows: list[Standing] = []
    for kind, order in kinds if retry_failed else kinds[1:]:
        query = sa.select(RequestRow.reference, RequestRow.state).where(kind).order_by(*order).limit(cap - len(rows))
        rows += [Standing(*row) for row in connection.execute(query)]
    return rows
