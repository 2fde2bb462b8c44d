"""The audit table: its chain, what it never holds, and that nobody can rewrite it unseen."""

import hashlib
import json

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.lives import connect, make_request, run_sql, take
from unilogit.ledger import AuditBroken, Ledger
from unilogit.ledger.audit import _chained_sha256

COLUMNS = ["sequence", "at", "request_id", "from_state", "to_state", "why", "run"]
any_text = st.text(st.characters(exclude_categories=["Cs"]))


def drop_triggers(location):
    engine = connect(location)
    if engine.dialect.name == "sqlite":
        return [f"DROP TRIGGER ledger_audit_no_{verb}" for verb in ("UPDATE", "DELETE")]
    return ["DROP TRIGGER ledger_audit_append_only ON ledger_audit"]


def test_the_chain_is_sha256_over_the_hash_before_and_the_row(closed):
    previous = ""
    for *values, stored in run_sql(closed, f"SELECT {', '.join(COLUMNS)}, sha256 FROM ledger_audit ORDER BY 1"):
        row = dict(zip(COLUMNS, values, strict=True)) | {"previous": previous}
        row_json = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(row_json.encode()).hexdigest()
        assert stored == previous


@given(st.tuples(any_text, st.integers(1), any_text, any_text, st.none() | any_text, any_text, any_text, any_text))
def test_the_hash_is_that_of_the_row_as_json_whatever_it_says(values):
    row = dict(zip(["previous", *COLUMNS], values, strict=True))
    row_json = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert _chained_sha256(*values) == hashlib.sha256(row_json.encode()).hexdigest()


def test_the_audit_table_and_the_rejections_hold_nobodys_data(closed):
    with Ledger(closed) as ledger:
        take(ledger, make_request("r0", "Zoë Quux", days=1), make_request("zoe@example.org", reference="request-0815"))
        take(ledger, make_request("r0", "Zoë Quux", days=1), word="more")
        take(ledger, make_request("zoe@example.org", "Zoë Quux", reference="request-0815"), word="third")
        assert len(list(ledger.rejections())) == 1
    text = str(run_sql(closed, "SELECT * FROM ledger_audit") + run_sql(closed, "SELECT * FROM ledger_rejections"))
    assert "Zoë" not in text
    assert "Quux" not in text
    assert "zoe@" not in text
    assert "Quux" in str(run_sql(closed, "SELECT content FROM ledger_requests"))


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger_audit SET why = 'x' WHERE sequence = 3", "DELETE FROM ledger_audit"]
)
def test_the_database_refuses_to_rewrite_the_audit_table(closed, statement):
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        run_sql(closed, statement)
    with Ledger(closed) as ledger:
        assert ledger.verify_audit() == 16


def test_postgresql_refuses_to_empty_the_audit_table(schema):
    with Ledger(schema) as ledger:
        take(ledger, make_request("r0"))
        with pytest.raises(sa.exc.DBAPIError, match="append-only"):
            run_sql(schema, "TRUNCATE ledger_audit")
        assert ledger.verify_audit() == 2


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
        ("DELETE FROM ledger_audit WHERE sequence = 16", "request r2 is awaiting_promotion"),
        ("DELETE FROM ledger_audit", "request r0 is awaiting_promotion"),
        ("UPDATE ledger_requests SET state = 'fulfilled' WHERE request_id = 'r1'", "request r1 is fulfilled"),
        ("DELETE FROM ledger_requests WHERE request_id = 'r1'", "request r1 was audited but is gone"),
    ],
)
def test_a_change_behind_the_ledgers_back_is_found(closed, statement, message):
    run_sql(closed, *drop_triggers(closed), statement)
    with Ledger(closed) as ledger, pytest.raises(AuditBroken, match=message):
        ledger.verify_audit()


def test_an_audit_row_that_is_no_text_any_more_is_found(path):
    with Ledger(path) as ledger:
        take(ledger, make_request("r0"))
        run_sql(path, *drop_triggers(path), "UPDATE ledger_audit SET why = x'00' WHERE sequence = 2")
        with pytest.raises(AuditBroken, match="sequence 2:"):
            ledger.verify_audit()
