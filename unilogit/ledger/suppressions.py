"""The suppression list in the ledger: what is left of purged requests, so that their people are known again.

Every method is one transaction and can be repeated after a kill. Knows digests; nothing of whom they are.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from unilogit.data.pseudonyms import require_key
from unilogit.ledger.audit import chunks
from unilogit.ledger.database import Database
from unilogit.ledger.tables import SuppressionRow, insert_rows


class Suppressions(Database):
    """The part of Ledger that keeps the suppression list."""

    def suppress(self, digests: Mapping[str, str], check: str) -> None:
        """Put digests on the list; one that is there stays as it is. Can be repeated.

        Args:
            digests: digest → reference of the request.
            check: of the key that they were made under (Pseudonyms.check).

        Raises:
            InputError: the list was made under another key.
        """
        with self._writing() as connection:
            require_key(_checks(connection), check)
            for chunk in chunks(digests.items()):
                rows = [(digest, reference, check) for digest, reference in chunk]
                insert_rows(connection, SuppressionRow, ("digest", "reference", "key_check"), rows, new_only=True)

    def suppressions(self, check: str) -> dict[str, str]:
        """The list: digest → reference of the request.

        Args:
            check: of the key that it is used with.

        Raises:
            InputError: it was made under another key.
        """
        with self._reading() as connection:
            require_key(_checks(connection), check)
            return dict(connection.execute(sa.select(SuppressionRow.digest, SuppressionRow.reference)).tuples().all())


def _checks(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(SuppressionRow.key_check).distinct()).scalars())
