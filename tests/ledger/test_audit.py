"""The audit table: its chain, what it never holds, and that nobody can rewrite it unseen."""

import hashlib
import json
import sqlite3

import pytest

from tests.ledger.lives import make_request, run_sql, take
from unilogit.ledger import AuditBroken, Ledger

DROP_TRIGGERS = [f"DROP TRIGGER ledger_audit_no_{verb}" for verb in ("UPDATE", "DELETE")]


def test_the_chain_is_sha256_over_the_hash_before_and_the_row(closed):
    previous = ""
    columns = ["sequence", "at", "request_id", "from_state", "to_state", "why", "run"]
    for *values, stored in run_sql(closed, f"SELECT {', '.join(columns)}, sha256 FROM ledger_audit ORDER BY 1"):
        row = dict(zip(columns, values, strict=True)) | {"previous": previous}
        row_json = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(row_json.encode()).hexdigest()
        assert stored == previous


def test_the_audit_table_and_the_rejections_hold_nobodys_data(closed):
    with Ledger(closed) as ledger:
        take(ledger, make_request("r0", "Zoë Quux", days=1), word="more")
        assert len(ledger.rejections()) == 1
    text = str(run_sql(closed, "SELECT * FROM ledger_audit") + run_sql(closed, "SELECT * FROM ledger_rejections"))
    assert "Zoë" not in text
    assert "Quux" not in text
    assert "Quux" in str(run_sql(closed, "SELECT content FROM ledger_requests"))


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger_audit SET why = 'x' WHERE sequence = 3", "DELETE FROM ledger_audit"]
)
def test_the_database_refuses_to_rewrite_the_audit_table(closed, statement):
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        run_sql(closed, statement)
    with Ledger(closed) as ledger:
        assert ledger.verify_audit() == 14


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        *[
            (f"UPDATE ledger_audit SET {column} = {value} WHERE sequence = 5", "sequence 5:")
            for column, value in [
                ("at", "'2020-01-01T00:00:00.000000+00:00'"),
                ("request_id", "'r0'"),
                ("from_state", "NULL"),
                ("to_state", "'fulfilled'"),
                ("why", "'because'"),
                ("run", "'another'"),
                ("sha256", f"'{'0' * 64}'"),
            ]
        ],
        ("DELETE FROM ledger_audit WHERE sequence = 5", "sequence 5:"),
        ("DELETE FROM ledger_audit WHERE sequence = 1", "sequence 1:"),
        ("DELETE FROM ledger_audit WHERE sequence = 14", "request r2 is awaiting_promotion"),
        ("DELETE FROM ledger_audit", "request r0 is awaiting_promotion"),
        ("UPDATE ledger_requests SET state = 'fulfilled' WHERE request_id = 'r1'", "request r1 is fulfilled"),
        ("DELETE FROM ledger_requests WHERE request_id = 'r1'", "request r1 was audited but is gone"),
    ],
)
def test_a_change_behind_the_ledgers_back_is_found(closed, statement, message):
    run_sql(closed, *DROP_TRIGGERS, statement)
    with Ledger(closed) as ledger, pytest.raises(AuditBroken, match=message):
        ledger.verify_audit()
