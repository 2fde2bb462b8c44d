"""Run by Alembic: migrates over the connection that the caller opened, within the caller's transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="ledger_alembic_version",  # a server's database may hold other programs' tables too
)
with context.begin_transaction():
    context.run_migrations()
