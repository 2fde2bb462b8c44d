"""How requests end: fulfilled with a certificate, or watched for long enough in vain; and how they are then forgotten.

Every method is one transaction and can be repeated after a kill. Knows nothing of what a certificate says.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from unilogit.errors import InputError
from unilogit.ledger.audit import Entry, Standing, move, record, update
from unilogit.ledger.database import Database
from unilogit.ledger.queries import find_row
from unilogit.ledger.states import IllegalMove, RequestState
from unilogit.ledger.tables import BatchRow, RequestRow

_S = RequestState
_FORGETTABLE = (_S.fulfilled, _S.not_found, _S.withdrawn, _S.rejected)


class Endings(Database):
    """The part of Ledger that requests end in."""

    def fulfil(self, certificates: Mapping[str, str], run: str, who: str) -> None:
        """The model in use has unlearned these requests. Can be repeated.

        Args:
            certificates: reference or request_id → SHA-256 of the request's certificate.
            who: who put the model into use.

        Raises:
            IllegalMove: one of them does not await this, or was fulfilled with another certificate.
        """
        with self._writing() as connection:
            asked = [find_row(connection, name) for name in certificates]
            digests = {row.reference: digest for row, digest in zip(asked, certificates.values(), strict=True)}
            if changed := [row for row in asked if row.certificate_sha256 not in (None, digests[row.reference])]:
                raise IllegalMove(f"request {changed[0].reference} was fulfilled with another certificate")
            rows = [Standing(row.reference, row.state) for row in asked if row.certificate_sha256 is None]
            why = {name: f"in use by decision of {who}; certificate {digests[name]}" for name, _ in rows}
            move(connection, rows, _S.fulfilled, why, run)
            for name, _ in rows:
                update(connection, [name], certificate_sha256=digests[name])

    def close_watched(self, days: int, corpus: str, now: datetime, run: str) -> list[str]:
        """Close requests that were watched for `days` in vain. Can be repeated.

        Args:
            corpus: digest of the corpus as it is: what was not yet looked for in it is not closed.

        Returns:
            Their references.
        """
        with self._writing() as connection:
            query = sa.select(RequestRow.reference, RequestRow.state).where(
                RequestRow.state == _S.watched,
                RequestRow.watched_since < now - timedelta(days=days),
                RequestRow.searched_corpus == corpus,
            )
            rows = [Standing(*row) for row in connection.execute(query.order_by(RequestRow.reference))]
            move(connection, rows, _S.not_found, f"nothing in the corpus for {days} days", run)
            return [name for name, _ in rows]

    def purge(self, names: Iterable[str], run: str) -> list[str]:
        """Forget what ended requests asked, and who; digests, dates and the audit table stay. Can be repeated.

        Fulfilled ones become purged; those that ended otherwise keep their state. Afterwards the database is
        compacted, so that its file holds nothing of them; PostgreSQL's write-ahead log and backups do until they
        are recycled.

        Args:
            names: references or request_ids.

        Returns:
            References of what was forgotten now: not of what was before, nor of requests of the open batch, which wait
            until it is closed.

        Raises:
            InputError: one of them has not ended.
        """
        with self._writing() as connection:
            still_open = set(
                connection.execute(sa.select(BatchRow.batch_id).where(BatchRow.finished_at.is_(None))).scalars()
            )
            asked = [row for row in (find_row(connection, name) for name in names) if row.purged_at is None]
            if unfinished := [row for row in asked if row.state not in _FORGETTABLE]:
                row = unfinished[0]
                raise InputError(f"request {row.reference} is {row.state}: only what has ended can be purged")
            rows = [Standing(row.reference, row.state) for row in asked if row.batch_id not in still_open]
            why = "what was asked is purged"
            move(connection, (row for row in rows if row.state == _S.fulfilled), _S.purged, why, run)
            entries = (Entry(name, state, state, why) for name, state in rows if state != _S.fulfilled)
            record(connection, entries, run)
            references = [name for name, _ in rows]
            blank = {"request_id": RequestRow.reference, "content": "", "origin": "", "purged_at": datetime.now(UTC)}
            update(connection, references, **blank)
        self._compact()
        return references
