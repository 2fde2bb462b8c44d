"""The database: what cannot be opened or written is refused, by name, and left alone."""

import sqlite3

import pytest

from tests.ledger.lives import numbered_requests, run_sql, states, take
from unilogit.errors import InputError
from unilogit.ledger import Ledger, tables


def test_a_newer_schema_is_refused_and_left_alone(closed):
    run_sql(closed, "UPDATE ledger_schema SET version = 2")
    content = closed.read_bytes()
    with pytest.raises(InputError, match=r"ledger\.db: the ledger has schema version 2, .* up to 1"):
        Ledger(closed)
    assert closed.read_bytes() == content


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
    ):
        with pytest.raises(InputError, match="cannot be used as a ledger"):
            Ledger(location)
    with pytest.raises(InputError) as error:
        Ledger("nothing://me:hunter2@host/x")
    assert "hunter2" not in str(error.value)


def test_a_url_and_a_path_name_the_same_ledger(path):
    with Ledger(path) as ledger:
        take(ledger, *numbered_requests(1))
    with Ledger(f"sqlite:///{path}") as ledger:
        assert states(ledger) == {"r000": "validated"}


def test_a_commit_survives_a_power_cut(path):
    with tables.write_transaction(tables.open_database(path)) as session:
        assert session.connection().exec_driver_sql("PRAGMA synchronous").scalar() == 3  # EXTRA


def test_a_ledger_that_another_process_holds_is_refused_after_a_wait(path, monkeypatch):
    monkeypatch.setattr(tables, "SECONDS_TO_WAIT", 0.1)
    with Ledger(path) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match=r"cannot be written .*locked.*; try again later"):
            take(ledger, *numbered_requests(1))
        other.close()
        assert take(ledger, *numbered_requests(1)).new == 1
