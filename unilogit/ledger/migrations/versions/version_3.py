"""The suppression list: keyed digests of what identified the people of purged requests."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    op.create_table(
        "ledger_suppressions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("reference", sa.String(200), nullable=False),
        sa.Column("key_check", sa.String(16), nullable=False),
    )
    op.execute("UPDATE ledger_schema SET version = 3")
