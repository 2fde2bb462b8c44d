"""What people decide about a request: to withdraw or reopen it, to approve or refuse it, to retry it, to close it.

Every method is one transaction; typed again by the same person after a kill, it changes nothing. Knows nothing of runs.
"""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from unilogit.errors import InputError
from unilogit.ledger import audit
from unilogit.ledger.audit import Standing, move, update
from unilogit.ledger.database import Database
from unilogit.ledger.queries import LedgerRow, find_row
from unilogit.ledger.states import RequestState
from unilogit.ledger.tables import BatchRow, MemberRow

_S = RequestState
_AFRESH: dict[str, object] = {
    "batch_id": None,
    "held_reasons": [],
    "watched_since": None,
    "searched_at": None,
    "searched_corpus": None,
    "certificate_sha256": None,
}
"""What a request that waits again does not remember."""


class Decisions(Database):
    """The part of Ledger that people's decisions go to.

    Everywhere, `name` is a reference or a request_id, `who` says who decides, and `why` goes, like `who`, into the
    audit table for good: nobody's data.
    """

    def withdraw(self, name: str, who: str) -> None:
        """The person takes the request back; possible until a model is being trained to forget them.

        Raises:
            InputError: there is no such request, or it cannot be taken back: says what can be done.
        """
        with self._writing() as connection:
            row = find_row(connection, name)
            sources = [_S.validated, _S.watched, _S.held, _S.failed]
            if row.state != _S.batched or not _in_training(connection, row):
                sources.append(_S.batched)
            if (
                row.state in (_S.batched, _S.unlearned, _S.awaiting_promotion, _S.escalated)
                and row.state not in sources
            ):
                raise InputError(
                    f"request {row.reference} cannot be withdrawn any more: a model is unlearning it or has "
                    f"(batch {row.batch_id}), and that cannot be undone; once that model is refused, its requests wait "
                    "again and can be withdrawn"
                )
            if row.state in (_S.fulfilled, _S.purged):
                raise InputError(
                    f"request {row.reference} cannot be withdrawn any more: the model in use has unlearned it, and "
                    "that cannot be undone; what the person wants known again must be trained again"
                )
            if _decide(connection, row, sources, _S.withdrawn, "withdrawn", who) and row.state == _S.batched:
                of_batch = sa.update(MemberRow).where(MemberRow.batch_id == row.batch_id)
                connection.execute(of_batch.where(MemberRow.reference == row.reference).values(withdrawn=True))

    def reopen(self, name: str, who: str, why: str) -> None:
        """A request that had ended waits again, as if it had just come in.

        Raises:
            InputError: there is no such request, it has not ended, or its content was purged.
        """
        with self._writing() as connection:
            row = find_row(connection, name)
            if row.purged_at:
                raise InputError(
                    f"request {row.reference} cannot be reopened: what it asked was purged on {row.purged_at:%Y-%m-%d}"
                    "; file it anew, with a new request_id"
                )
            sources = [_S.withdrawn, _S.not_found, _S.rejected, _S.fulfilled]
            if _decide(connection, row, sources, _S.validated, f"reopened: {why}", who):
                update(connection, [row.reference], **_AFRESH)

    def retry(self, name: str, who: str) -> None:
        """A request that failed waits again.

        Raises:
            InputError: there is no such request, or it has not failed.
        """
        with self._writing() as connection:
            row = find_row(connection, name)
            if _decide(connection, row, [_S.failed, _S.escalated], _S.validated, "retried", who):
                update(connection, [row.reference], **_AFRESH)

    def approve(self, name: str, who: str) -> None:
        """A held request goes on; it is not held again for the reasons that it was held for.

        Raises:
            InputError: there is no such request, or it is not held.
        """
        with self._writing() as connection:
            row = find_row(connection, name)
            why = f"approved although: {'; '.join(row.held_reasons)}"
            if _decide(connection, row, [_S.held], _S.validated, why, who):
                approvals = list(dict.fromkeys([*row.approvals, *row.held_reasons]))
                update(connection, [row.reference], **{**_AFRESH, "approvals": approvals})

    def refuse(self, name: str, who: str, why: str) -> None:
        """A held request is rejected.

        Raises:
            InputError: there is no such request, or it is not held.
        """
        with self._writing() as connection:
            _decide(connection, find_row(connection, name), [_S.held], _S.rejected, f"refused: {why}", who)

    def close(self, name: str, who: str, why: str) -> None:
        """A watched request is not looked for any longer: nothing of it was ever in the corpus.

        Raises:
            InputError: there is no such request, or it is not watched.
        """
        with self._writing() as connection:
            _decide(connection, find_row(connection, name), [_S.watched], _S.not_found, f"closed: {why}", who)


def _in_training(connection: sa.Connection, row: LedgerRow) -> bool:
    query = sa.select(BatchRow.training_at).where(BatchRow.batch_id == row.batch_id)
    began_at: datetime | None = connection.execute(query).scalar_one()
    return began_at is not None


def _decide(
    connection: sa.Connection, row: LedgerRow, sources: Iterable[RequestState], target: RequestState, why: str, who: str
) -> bool:
    """Move a request as a person says; False when this person had done so already, and nothing was done since.

    Raises:
        InputError: it stands elsewhere.
    """
    run = f"person: {who}"
    if row.state in sources:
        move(connection, [Standing(row.reference, row.state)], target, why, run)
        return True
    last = audit.history(connection, row.reference)[-1]
    if (last.from_state, last.to_state, last.run) in [(source, target, run) for source in sources]:
        return False
    raise InputError(
        f"request {row.reference} is {row.state}; this is for requests that are {' or '.join(sources)}; "
        f"`unilogit requests show {row.reference}` shows its way"
    )
