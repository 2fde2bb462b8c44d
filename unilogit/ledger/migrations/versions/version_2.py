"""References, batches that remember whom they were taken with, and what watching, holding and purging need.

`no_match`, once an end, becomes `watched`, by an audited move. The reference of a request that is stored already is its
request_id: so it is called in the audit table, which nobody can change.
"""

import sqlalchemy as sa
from alembic import op

from unilogit.ledger.audit import Entry, record

revision = "2"
down_revision = "1"

TIME = sa.String(32)
COPIED = "request_id, state, received_at, due_at, batch_id, origin, content, content_sha256"
SEARCHED = (
    "(SELECT MAX(at) FROM ledger_audit WHERE ledger_audit.request_id = ledger_requests.reference "
    "AND to_state = 'no_match')"
)


def upgrade() -> None:
    op.rename_table("ledger_requests", "ledger_requests_1")
    op.drop_index("ix_ledger_requests_batch_id", "ledger_requests_1")
    op.create_table(
        "ledger_requests",
        sa.Column("reference", sa.String(200), primary_key=True),
        sa.Column("request_id", sa.String(200), nullable=False, unique=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("batch_id", sa.String(32), index=True),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.String, nullable=False),
        sa.Column("held_reasons", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("approvals", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("watched_since", TIME),
        sa.Column("searched_at", TIME),
        sa.Column("searched_corpus", sa.String),
        sa.Column("certificate_sha256", sa.String(64)),
        sa.Column("purged_at", TIME),
    )
    op.execute(f"INSERT INTO ledger_requests (reference, {COPIED}) SELECT request_id, {COPIED} FROM ledger_requests_1")
    op.drop_table("ledger_requests_1")
    urgency = ["due_at", "received_at", "reference"]
    op.create_index("ix_ledger_requests_urgency", "ledger_requests", urgency)
    op.create_index("ix_ledger_requests_state_urgency", "ledger_requests", ["state", *urgency])

    op.add_column("ledger_batches", sa.Column("training_at", TIME))
    op.add_column("ledger_batches", sa.Column("attempts", sa.Integer, nullable=False, server_default="1"))
    op.create_table(
        "ledger_batch_requests",
        sa.Column("batch_id", sa.String(32), primary_key=True),
        sa.Column("reference", sa.String(200), primary_key=True),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
    )
    op.execute(
        "INSERT INTO ledger_batch_requests SELECT DISTINCT batch_id, request_id, false FROM ledger_audit "
        "JOIN ledger_batches ON why = 'batch ' || batch_id WHERE to_state = 'batched'"
    )

    connection = op.get_bind()
    unmatched = connection.execute(sa.text("SELECT reference FROM ledger_requests WHERE state = 'no_match' ORDER BY 1"))
    why = "nothing was in the corpus: no end any more, watched instead"
    record(connection, (Entry(name, "no_match", "watched", why) for name in unmatched.scalars().all()), "migration 2")
    op.execute(
        f"UPDATE ledger_requests SET state = 'watched', watched_since = {SEARCHED}, searched_at = {SEARCHED} "
        "WHERE state = 'no_match'"
    )
    op.execute("UPDATE ledger_schema SET version = 2")
