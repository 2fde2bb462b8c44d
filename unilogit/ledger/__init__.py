"""The ledger: which requests came in, where each one stands, and proof of every change.

One SQL database, SQLite or PostgreSQL. Knows nothing of corpora, models or runs. Requests hold personal data;
the audit table never does.
"""

from unilogit.ledger.audit import AuditBroken, Move
from unilogit.ledger.batches import Batch
from unilogit.ledger.intake import Receipt
from unilogit.ledger.ledger import Ledger
from unilogit.ledger.queries import BatchSummary, LedgerRow, RejectedRow
from unilogit.ledger.states import ENDED, MOVES, IllegalMove, RequestState

__all__ = [
    "ENDED",
    "MOVES",
    "AuditBroken",
    "Batch",
    "BatchSummary",
    "IllegalMove",
    "Ledger",
    "LedgerRow",
    "Move",
    "Receipt",
    "RejectedRow",
    "RequestState",
]
