"""The ledger: which requests came in, where each one stands, and proof of every change.

One SQL database, SQLite by default. Knows nothing of corpora, models or runs. Requests hold personal data;
the audit table never does.
"""

from unilogit.ledger.audit import AuditBroken, Move
from unilogit.ledger.ledger import Batch, Ledger, Receipt
from unilogit.ledger.queries import LedgerRow, RejectedRow
from unilogit.ledger.states import MOVES, IllegalMove, RequestState

__all__ = [
    "MOVES",
    "AuditBroken",
    "Batch",
    "IllegalMove",
    "Ledger",
    "LedgerRow",
    "Move",
    "Receipt",
    "RejectedRow",
    "RequestState",
]
