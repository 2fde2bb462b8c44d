"""deploy/databases.py on a PostgreSQL server that asks for passwords: three databases, none of which sees another."""

import subprocess
import sys

import psycopg
import pytest

from tests.deploy.servers import running_database
from tests.deploy.settings import DEPLOY, clean_environment

PASSWORDS = {"prefect": "one", "mlflow": "two'\"\\", "ledger": "thrée"}


@pytest.fixture(scope="module")
def server():
    """A server's port; its administrator's password is `admin`."""
    with running_database("admin") as port:
        yield port


def run(port, user="postgres", password="admin", **passwords):
    environment = clean_environment() | {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": user}
    environment |= {"PGPASSWORD": password}
    environment |= {f"{name.upper()}_DATABASE_PASSWORD": word for name, word in (PASSWORDS | passwords).items()}
    command = [sys.executable, DEPLOY / "databases.py"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def connect(port, user, database, password):
    return psycopg.connect(host="127.0.0.1", port=port, user=user, dbname=database, password=password, autocommit=True)


def test_each_user_opens_its_own_database_and_no_other(server):
    for _ in range(2):
        done = run(server)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for user, password in PASSWORDS.items():
        with connect(server, user, user, password) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (text TEXT)")
            connection.execute("INSERT INTO kept VALUES ('é')")
        for database in {*PASSWORDS} - {user}:
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                connect(server, user, database, password)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(server, user, user, "guessed")
    run(server)  # what is there stays
    with connect(server, "ledger", "ledger", PASSWORDS["ledger"]) as connection:
        assert connection.execute("SELECT text FROM kept").fetchall() == [("é",)]


def test_a_password_that_changed_is_taken_over(server):
    assert run(server, ledger="new").returncode == 0
    connect(server, "ledger", "ledger", "new").close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server, "ledger", "ledger", PASSWORDS["ledger"])
    assert run(server).returncode == 0


def test_an_administrator_who_is_no_superuser_will_do(server):
    with connect(server, "postgres", "postgres", "admin") as connection:
        connection.execute("CREATE ROLE clerk LOGIN CREATEDB CREATEROLE PASSWORD 'clerk'")
        for name in PASSWORDS:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(f"DROP ROLE IF EXISTS {name}")
    done = run(server, "clerk", "clerk")
    assert done.returncode == 0, done.stderr
    connect(server, "ledger", "ledger", PASSWORDS["ledger"]).close()


def test_what_is_missing_or_wrong_is_said_in_a_sentence(server):
    done = run(server, mlflow="", prefect="")
    assert done.returncode == 1
    assert done.stderr.startswith("error: PREFECT_DATABASE_PASSWORD, MLFLOW_DATABASE_PASSWORD not set")
    done = run(server, password="wrong")
    assert done.returncode == 1
    assert done.stderr.startswith("error: PostgreSQL: ")
    assert "Traceback" not in done.stderr
