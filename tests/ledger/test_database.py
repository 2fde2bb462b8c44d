"""The database: what cannot be opened or written is refused, by name, and left alone; who may work on it."""

import os
import signal
import sqlite3

import pytest
import sqlalchemy as sa

from tests.children import processes
from tests.ledger.lives import connect, numbered_requests, run_sql, states, take
from unilogit.errors import AnotherRuns, InputError, TemporaryError
from unilogit.ledger import Ledger, database
from unilogit.ledger.database import SCHEMA_VERSION


def test_a_newer_schema_is_refused_and_left_alone(closed):
    run_sql(closed, "UPDATE ledger_schema SET version = 99")
    with pytest.raises(InputError, match=rf"the ledger has schema version 99, .* up to {SCHEMA_VERSION}"):
        Ledger(closed)
    assert run_sql(closed, "SELECT version FROM ledger_schema") == [(99,)]


def test_a_ledger_that_became_newer_while_it_was_open_is_not_written(ledger, location):
    run_sql(location, "UPDATE ledger_schema SET version = 99")
    with pytest.raises(InputError, match="use the newer program"):
        take(ledger, *numbered_requests(1))


@pytest.mark.parametrize("content", [b"request_id,subject_id\n" * 100, b"SQLite format 3\0" + b"\1" * 200])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"ledger\.db: cannot be used as a ledger"):
        Ledger(path)
    assert path.read_bytes() == content


def test_locations_that_lead_nowhere_are_refused(tmp_path):
    (tmp_path / "file").touch()
    for location in (
        tmp_path,
        tmp_path / "file" / "ledger.db",
        "nothing://x",
        "sqlite:////no/such/folder/l.db",
        "postgresql+psycopg://127.0.0.1:1/nobody-listens",
    ):
        with pytest.raises(InputError, match="cannot be used as a ledger"):
            Ledger(location)
    with pytest.raises(InputError, match="lives in an SQLite file or a PostgreSQL database"):
        Ledger("sqlite://")
    with pytest.raises(InputError) as error:
        Ledger("nothing://me:hunter2@host/x")
    assert "hunter2" not in str(error.value)


def test_a_url_and_a_path_name_the_same_ledger(path):
    with Ledger(path) as ledger:
        take(ledger, *numbered_requests(1))
    with Ledger(f"sqlite:///{path}") as ledger:
        assert states(ledger) == {"r000": "validated"}


def test_a_commit_survives_a_power_cut(path):
    with database.open_database(path).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3  # EXTRA


def test_a_ledger_that_another_process_writes_is_refused_after_a_wait(location, monkeypatch):
    monkeypatch.setattr(database, "SECONDS_TO_WAIT", 1)
    with Ledger(location) as ledger:
        engine = connect(location)
        with engine.connect() as other:
            if engine.dialect.name == "sqlite":
                other.connection.driver_connection.isolation_level = None
                other.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                other.execute(sa.text("SELECT * FROM ledger_schema FOR UPDATE"))
            with pytest.raises(TemporaryError, match=r"cannot be written .*lock.*; try again later"):
                take(ledger, *numbered_requests(1))
            assert list(ledger.requests()) == []  # reading goes on
        engine.dispose()
        assert take(ledger, *numbered_requests(1)).new == 1


def test_a_ledger_that_another_process_changes_is_not_read(path, monkeypatch):
    monkeypatch.setattr(database, "SECONDS_TO_WAIT", 0.1)
    with Ledger(path) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TemporaryError, match=r"cannot be read .*locked.*; try again later"):
            ledger.counts()
        other.close()


def hold_run_lock(location, answers):
    with Ledger(location) as ledger, ledger.run_lock():
        answers.put("held")
        signal.pause()


def test_one_process_works_on_batches_until_it_dies(location):
    answers = processes.Queue()
    other = processes.Process(target=hold_run_lock, args=(location, answers))
    other.start()
    assert answers.get(timeout=60) == "held"
    with Ledger(location) as ledger:
        for _ in range(2):
            with pytest.raises(AnotherRuns, match=r"another run works with .*; wait for it to end"), ledger.run_lock():
                pass
        take(ledger, *numbered_requests(1))  # requests come in all the same
        os.kill(other.pid, signal.SIGKILL)  # and the lock is had at once: a server notices a little later
        other.join()
        for _ in range(20):
            with ledger.run_lock():
                pass


def test_ledgers_of_one_server_have_a_run_each(schema, postgresql):
    other = f"{postgresql}?options=-csearch_path=another"
    run_sql(postgresql, "CREATE SCHEMA another")
    try:
        with Ledger(schema) as mine, Ledger(other) as theirs, mine.run_lock(), theirs.run_lock():
            pass
    finally:
        run_sql(postgresql, "DROP SCHEMA another CASCADE")
