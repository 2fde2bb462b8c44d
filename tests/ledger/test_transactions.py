"""Transactions: a kill leaves whole ones only, and processes at once never take a request twice."""

import multiprocessing
import os
import signal
import uuid

import pytest
import sqlalchemy as sa

from tests.ledger.lives import ids, numbered_requests, states, take
from unilogit.ledger import Ledger

fork = multiprocessing.get_context("fork")


def tell_all(path):
    """A whole life: told again from the start after a kill, it must end the same."""
    with Ledger(path) as ledger:
        take(ledger, *numbered_requests(4))
        while batch := ledger.open_batch(2, "run"):
            ledger.no_match(batch.batch_id, {"r001"} & set(ids(batch)), "run")
            ledger.unlearned(batch.batch_id, "run")
            ledger.finish_batch(batch.batch_id, True, "run")


def tell_until_killed(path, statements):
    countdown = statements

    def kill_at_zero(*_):
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "after_cursor_execute", kill_at_zero)
    tell_all(path)


def test_a_kill_at_any_statement_leaves_whole_transactions_only(tmp_path):
    whole = {  # how many requests have moved after each transaction
        (0, 0), (8, 4), (10, 4), (11, 4), (12, 4), (13, 4), (15, 4), (17, 4), (19, 4),
    }  # fmt: skip
    outcomes = set()
    for statements in range(1, 200):
        path = tmp_path / f"{statements}.db"
        child = fork.Process(target=tell_until_killed, args=(path, statements))
        child.start()
        child.join()
        with Ledger(path) as ledger:
            outcomes.add((ledger.verify_audit(), len(ledger.requests())))
            tell_all(path)
            assert ledger.verify_audit() == 19
            assert list(states(ledger).values()) == [
                "awaiting_promotion", "no_match", "awaiting_promotion", "awaiting_promotion",
            ]  # fmt: skip
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
    assert child.exitcode == 0
    assert outcomes == whole


def work(path, gate, answers):
    gate.wait()
    with Ledger(path) as ledger:
        receipt = take(ledger, *numbered_requests(30))
        opened = []
        while batch := ledger.open_batch(3, "run"):
            if not batch.resumed:
                opened.append(ids(batch))
            ledger.unlearned(batch.batch_id, "run")
            ledger.finish_batch(batch.batch_id, True, "run")
        answers.put((receipt.new, opened))


def test_processes_at_once_never_take_a_request_twice(path):
    gate, queue = fork.Barrier(3), fork.Queue()
    workers = [fork.Process(target=work, args=(path, gate, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(new for new, _ in answers) == [0, 0, 30]
    opened = [batch for _, batches in answers for batch in batches]
    assert sorted(opened) == [[f"r{n:03}" for n in range(start, start + 3)] for start in range(0, 30, 3)]
    with Ledger(path) as ledger:
        assert ledger.verify_audit() == 30 * 5
        assert ledger.counts()["awaiting_promotion"] == 30


@pytest.mark.skipif("UNILOGIT_TEST_POSTGRESQL" not in os.environ, reason="UNILOGIT_TEST_POSTGRESQL is not set")
def test_the_same_on_postgresql():
    url = sa.make_url(os.environ["UNILOGIT_TEST_POSTGRESQL"])
    schema = f"unilogit_{uuid.uuid4().hex}"
    admin = sa.create_engine(url)
    with admin.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    try:
        schema_url = url.update_query_dict({"options": f"-csearch_path={schema}"})
        location = schema_url.render_as_string(hide_password=False)
        test_processes_at_once_never_take_a_request_twice(location)
        engine = sa.create_engine(schema_url)
        for statement in (
            "UPDATE ledger_audit SET why = ''",
            "DELETE FROM ledger_audit",
            "TRUNCATE ledger_audit",
        ):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
                connection.execute(sa.text(statement))
        engine.dispose()
    finally:
        with admin.begin() as connection:
            connection.execute(sa.schema.DropSchema(schema, cascade=True))
        admin.dispose()
