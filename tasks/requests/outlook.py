"""What is left for people and for later runs, in a few numbers. Knows nothing of batches."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tasks.params import Params
from tasks.requests.batches import open_ledger
from unilogit.ledger import LedgerRow


@dataclass(frozen=True)
class Outlook:
    """What is left for people and for later runs."""

    watched: int
    held: int
    refused: int
    overdue: list[LedgerRow]

    def __str__(self) -> str:
        told = [
            (len(self.overdue), "late, or will be before the next run: `unilogit requests overdue`"),
            (self.held, "held until a person decides: `unilogit requests list --state held`"),
            (self.watched, "not found, still watched: `unilogit requests list --state watched`"),
            (self.refused, "refused: `unilogit requests quarantine`"),
        ]
        return "\n".join(f"{count} {words}" for count, words in told if count)


def outlook(params: Params) -> Outlook:
    """What waits, and what is late or will be before the next run."""
    with open_ledger() as ledger:
        counts = ledger.counts()
        late = list(ledger.overdue(datetime.now(UTC), timedelta(hours=params.requests.hours_between_runs)))
    return Outlook(watched=counts["watched"], held=counts["held"], refused=counts["rejected"], overdue=late)
