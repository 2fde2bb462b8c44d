"""A database and its user for each of Prefect, MLflow and the ledger: python deploy/databases.py

None of the three can open another's: the ledger names people, the others do not. May be run again at any time; a
password that has changed is taken over. Reads the server's address and administrator from libpq's PGHOST, PGPORT,
PGUSER and PGPASSWORD, and the users' passwords from PREFECT_DATABASE_PASSWORD, MLFLOW_DATABASE_PASSWORD and
LEDGER_DATABASE_PASSWORD.
"""

import os
import sys

import psycopg
from psycopg import Connection, sql

NAMES = ("prefect", "mlflow", "ledger")  # of the databases, and of their users


def main() -> None:
    """Make what is missing; exits with a sentence when it cannot."""
    variables = {name: f"{name.upper()}_DATABASE_PASSWORD" for name in NAMES}
    missing = [variable for variable in variables.values() if not os.environ.get(variable)]
    if missing:
        sys.exit(f"error: {', '.join(missing)} not set; run deploy/credentials.sh, then take its variables from there")
    try:
        # A database is not made in a transaction. Any that is there will do to connect to.
        with psycopg.connect(dbname=os.environ.get("PGDATABASE", "postgres"), autocommit=True) as connection:
            for name, variable in variables.items():
                make_database(connection, name, os.environ[variable])
    except psycopg.Error as error:
        sys.exit(f"error: PostgreSQL: {error}")


def make_database(connection: Connection, name: str, password: str) -> None:
    """Make a user and a database of that name, which the user owns and others cannot open."""
    identifier = sql.Identifier(name)

    def run(statement: str, *parts: sql.Composable) -> None:
        connection.execute(sql.SQL(statement).format(identifier, *parts))

    def exists(table: str, column: str) -> bool:
        query = sql.SQL("SELECT 1 FROM {} WHERE {} = %s").format(sql.Identifier(table), sql.Identifier(column))
        return connection.execute(query, [name]).fetchone() is not None

    verb = "ALTER" if exists("pg_roles", "rolname") else "CREATE"
    run(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}", sql.Literal(password))
    if not exists("pg_database", "datname"):
        run("GRANT {} TO CURRENT_USER")  # an administrator who is no superuser may give a database to such a role alone
        run("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'", identifier)
    run("REVOKE ALL ON DATABASE {} FROM PUBLIC")


if __name__ == "__main__":
    main()
