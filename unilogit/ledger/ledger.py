"""The ledger as a whole: intake, work, decisions, endings, suppressions and queries, over one database."""

from unilogit.ledger.decisions import Decisions
from unilogit.ledger.endings import Endings
from unilogit.ledger.intake import Intake
from unilogit.ledger.queries import Queries
from unilogit.ledger.suppressions import Suppressions
from unilogit.ledger.work import Work


class Ledger(Intake, Work, Decisions, Endings, Suppressions, Queries):
    """The ledger in one database; a context manager.

    Whatever takes a request's name takes its reference or its request_id. The audit table refuses changes by a
    trigger; its hash chain tells of any that were made all the same.

    Args:
        location: a path (an SQLite file, made with its folder when missing, for its owner's eyes only) or a
            SQLAlchemy URL of SQLite or PostgreSQL.

    Raises:
        InputError: the database cannot be opened, is none, or was made by a newer version.
    """
