"""The first tables: requests, files, rejections, batches, and the audit table, which triggers guard."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

TIME = sa.String(32)
APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER ledger_audit_no_{verb} BEFORE {verb} ON ledger_audit "
        "BEGIN SELECT RAISE(ABORT, 'ledger_audit is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION ledger_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'ledger_audit is append-only'; END $$",
        "CREATE TRIGGER ledger_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_audit_refuse()",
    ],
}


def upgrade() -> None:
    schema = op.create_table("ledger_schema", sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))
    op.bulk_insert(schema, [{"version": 1}])
    op.create_table(
        "ledger_files",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("file", sa.String, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("run", sa.String, nullable=False),
    )
    op.create_table(
        "ledger_requests",
        sa.Column("request_id", sa.String(200), primary_key=True),
        sa.Column("state", sa.String(32), nullable=False, index=True),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("batch_id", sa.String(32), index=True),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.String, nullable=False),
    )
    op.create_table(
        "ledger_rejections",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("file", sa.String, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_table(
        "ledger_batches",
        sa.Column("batch_id", sa.String(32), primary_key=True),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.Column("passed", sa.Boolean),
    )
    op.create_table(
        "ledger_audit",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False, index=True),
        sa.Column("from_state", sa.String(32)),
        sa.Column("to_state", sa.String(32), nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
    )
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
