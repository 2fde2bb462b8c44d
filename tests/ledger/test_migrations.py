"""A ledger made by the first version: nothing is lost, its audit chain holds, and a kill meanwhile leaves it whole."""

import os
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.children import processes
from tests.ledger.lives import LATER_CORPUS, connect, ids, make_request, open_batch, run_sql, states, take
from unilogit.ledger import Ledger, database
from unilogit.ledger.tables import Table


@pytest.fixture
def first_version(location):
    """The location of a ledger as the first version left it, with an open batch."""
    if isinstance(location, Path):
        location.parent.mkdir()
    engine = connect(location)
    script = Path(__file__).with_name(f"version_1.{engine.dialect.name}.sql").read_text()
    with engine.begin() as connection:
        driver = connection.connection.driver_connection
        driver.executescript(script) if engine.dialect.name == "sqlite" else driver.execute(script)
    engine.dispose()
    return location


def rows_by_name(location, table, order):
    engine = connect(location)
    with engine.connect() as connection:
        rows = connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY {order}")).mappings().all()
    engine.dispose()
    return [dict(row) for row in rows]


def test_the_tables_that_migrations_make_are_the_tables_that_the_program_knows(ledger, location):
    engine = connect(location)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": "ledger_alembic_version"}
        )
        assert compare_metadata(context, Table.metadata) == []
    engine.dispose()
    scripts = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    assert scripts.get_heads() == [str(database.SCHEMA_VERSION)]


def test_nothing_is_lost(first_version):
    tables = [
        ("ledger_files", "sha256"),
        ("ledger_requests", "request_id"),
        ("ledger_rejections", "number"),
        ("ledger_audit", "sequence"),
    ]
    before = {table: rows_by_name(first_version, table, order) for table, order in tables}
    with Ledger(first_version) as ledger:
        assert ledger.verify_audit() == 36 + 2
        with Ledger(first_version) as again:
            assert again.verify_audit() == 38
    for table, order in tables:
        after = rows_by_name(first_version, table, order)[: len(before[table])]
        for old, new in zip(before[table], after, strict=True):
            if old.get("state") == "no_match":
                old["state"] = "watched"
            assert old.items() <= new.items()
            assert new.get("reference") == old.get("request_id") or table == "ledger_audit"


def test_what_was_closed_because_nothing_matched_is_watched(first_version):
    with Ledger(first_version) as ledger:
        assert states(ledger) == {
            "r0": "awaiting_promotion", "r1": "awaiting_promotion", "r2": "failed", "r3": "failed", "r4": "watched",
            "r5": "batched", "r6": "validated", "r7": "validated", "zoe@example.org": "watched",
        }  # fmt: skip
        last, searched = ledger.history("r4")[-1], ledger.history("r4")[-2]
        assert (searched.to_state, last.from_state, last.to_state, last.run) == (
            "no_match", "no_match", "watched", "migration 2",
        )  # fmt: skip
        row = ledger.find("r4")
        assert (row.watched_since, row.searched_at, row.searched_corpus) == (searched.at, searched.at, None)
        ledger.finish_batch(open_batch(ledger).batch_id, False, "run")
        assert set(ids(open_batch(ledger, corpus=LATER_CORPUS))) == {"r6", "r7", "r4", "zoe@example.org"}


def test_an_open_batch_goes_on_and_remembers_whom_it_took(first_version):
    with Ledger(first_version) as ledger:
        batch = open_batch(ledger)
        assert (ids(batch), batch.in_work, batch.attempts) == (["r4", "r5"], ["r5"], 2)
        members = {item.batch_id: set() for item in ledger.batches()}
        for batch_id, name in run_sql(first_version, "SELECT batch_id, reference FROM ledger_batch_requests"):
            members[batch_id].add(name)
        assert list(members.values()) == [{"zoe@example.org", "r0", "r1"}, {"r2", "r3"}, {"r2"}, {"r4", "r5"}]
        assert batch.batch_id == list(members)[3]
        assert {item.reference for item in ledger.earlier_requests(batch.batch_id)} == {"r0", "r1", "r2", "r3"}


def test_a_request_of_the_first_version_is_known_again(first_version):
    with Ledger(first_version) as ledger:
        receipt = take(ledger, make_request("r3", "Zoë Quux", row=99), make_request("r4", "Yan"), word="again")
        assert (receipt.new, receipt.repeated, receipt.rejected) == (0, 1, 1)


def test_a_row_that_was_changed_before_the_migration_is_found_after_it(first_version):
    if isinstance(first_version, Path):
        run_sql(first_version, "DROP TRIGGER ledger_audit_no_UPDATE")
    else:
        run_sql(first_version, "DROP TRIGGER ledger_audit_append_only ON ledger_audit")
    run_sql(first_version, "UPDATE ledger_audit SET why = 'x' WHERE sequence = 7")
    with Ledger(first_version) as ledger, pytest.raises(database.InputError, match="sequence 7:"):
        ledger.verify_audit()


def test_a_ledger_of_the_second_version_gets_an_empty_suppression_list(first_version, monkeypatch):
    script = ScriptDirectory(str(Path(database.__file__).parent / "migrations"))
    upgrade = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _: upgrade(config, "2"))
        Ledger(first_version)
    assert run_sql(first_version, "SELECT version FROM ledger_schema") == [(2,)]
    audit = rows_by_name(first_version, "ledger_audit", "sequence")
    with Ledger(first_version) as ledger:
        assert ledger.suppressions("a" * 16) == {}
        assert ledger.verify_audit() == len(audit) == 38
    assert run_sql(first_version, "SELECT version FROM ledger_schema") == [(int(script.get_current_head()),)]
    assert rows_by_name(first_version, "ledger_audit", "sequence") == audit


def open_until_killed(location, statements):
    countdown = statements

    def kill_at_zero(*_):
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "after_cursor_execute", kill_at_zero)
    Ledger(location)


def test_a_kill_at_any_statement_leaves_the_first_version_or_the_last(first_version):
    versions = []
    for statements in range(1, 200):
        child = processes.Process(target=open_until_killed, args=(first_version, statements))
        child.start()
        child.join()
        versions += run_sql(first_version, "SELECT version FROM ledger_schema")
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        assert (versions[-1], run_sql(first_version, "SELECT COUNT(*) FROM ledger_audit")) == ((1,), [(36,)])
    assert (child.exitcode, versions[-1]) == (0, (database.SCHEMA_VERSION,))
    assert len(versions) > 20
    with Ledger(first_version) as ledger:
        assert ledger.verify_audit() == 38


def open_at_once(location, gate):
    gate.wait()
    with Ledger(location) as ledger:
        assert ledger.verify_audit() == 38


def test_processes_that_open_it_at_once_migrate_it_once(first_version):
    gate = processes.Barrier(3)
    children = [processes.Process(target=open_at_once, args=(first_version, gate)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
