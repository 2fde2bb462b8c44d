"""Transactions: a kill leaves whole ones only, and processes at once never take a request twice."""

import os
import random
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.children import processes
from tests.ledger.lives import CORPUS, ids, numbered_requests, open_batch, states, take
from unilogit.ledger import Ledger


def tell_all(location, count, cap):
    """A whole life, by each request's last digit; told again from the start after a kill, it must end the same."""

    def ending(digits, references):
        return [name for name in references if name[-1] in digits]

    with Ledger(location) as ledger:
        take(ledger, *numbered_requests(count), word=str(count))
        while batch := open_batch(ledger, cap, attempts=1000):
            ledger.watch(batch.batch_id, ending("1", ids(batch)), CORPUS, "run")
            ledger.hold(batch.batch_id, {name: ["too short"] for name in ending("2", ids(batch))}, "run")
            ledger.begin_training(batch.batch_id, "run")
            ledger.unlearned(batch.batch_id, "run")
            ledger.finish_batch(batch.batch_id, True, "run")
        for name in ending("1", [row.reference for row in ledger.requests("watched")]):
            ledger.close(name, "Ada", "of another company")
        awaiting = [row.reference for row in ledger.requests("awaiting_promotion")]
        ledger.fulfil(dict.fromkeys(ending("03", awaiting), "c" * 64), "run", "Ada")
        ledger.purge(ending("0", [row.reference for row in ledger.requests("fulfilled")]), "run")


ENDS = {"0": "purged", "1": "not_found", "2": "held", "3": "fulfilled"}


def check_whole_life(location, count):
    """Nothing is lost, nothing was done twice, and the chain is whole."""
    with Ledger(location) as ledger:
        assert states(ledger) == {
            item.reference: ENDS.get(item.reference[-1], "awaiting_promotion") for item in numbered_requests(count)
        }
        moves = 0
        for item in numbered_requests(count):
            history = [move.to_state for move in ledger.history(item.reference)]
            moves += len(history)
            left = {"1": ["watched", "not_found"], "2": ["held"]}
            unlearned = ["batched", "unlearned", "awaiting_promotion"]  # batched: it says that training begins
            ends = {"0": ["fulfilled", "purged"], "3": ["fulfilled"]}
            assert history == [
                "received", "validated", "batched",
                *left.get(item.reference[-1], unlearned + ends.get(item.reference[-1], [])),
            ]  # fmt: skip
        assert ledger.verify_audit() == moves
    if isinstance(location, Path):
        assert list(location.parent.iterdir()) == [location]


def tell_until_killed(location, statements):
    countdown = statements

    def kill_at_zero(*_):
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "after_cursor_execute", kill_at_zero)
    tell_all(location, 5, 3)


def test_a_kill_at_any_statement_leaves_whole_transactions_only(tmp_path):
    kills = 0
    while True:
        path = tmp_path / str(kills) / "ledger.db"
        child = processes.Process(target=tell_until_killed, args=(path, 1 + 7 * kills))
        child.start()
        child.join()
        with Ledger(path) as ledger:
            assert len(states(ledger)) in (0, 5)
            ledger.verify_audit()
        tell_all(path, 5, 3)
        check_whole_life(path, 5)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        kills += 1
    assert kills > 20


def kill_at_random_instants(location, kills):
    """Give a life something new, start it, and kill it a random time later, again and again; then let it end."""
    seconds, count, died = random.Random(0), 0, 0
    Ledger(location).__exit__()
    while died < kills:
        count += 40
        child = processes.Process(target=tell_all, args=(location, count, 10))
        child.start()
        child.join(seconds.uniform(0.02, 0.4))
        child.kill()
        child.join()
        died += child.exitcode == -signal.SIGKILL
        with Ledger(location) as ledger:
            ledger.verify_audit()
    tell_all(location, count, 10)
    check_whole_life(location, count)


def test_a_few_kills_at_random_instants_lose_nothing_and_repeat_nothing(location):
    kill_at_random_instants(location, 6)


@pytest.mark.slow
def test_fifty_kills_at_random_instants_lose_nothing_and_repeat_nothing(location):
    kill_at_random_instants(location, 50)


def work(location, gate, answers):
    gate.wait()
    with Ledger(location) as ledger:
        receipt = take(ledger, *numbered_requests(30))
        opened = []
        while batch := open_batch(ledger, 3, attempts=1000):
            if not batch.resumed:
                opened.append(ids(batch))
            ledger.unlearned(batch.batch_id, "run")
            ledger.finish_batch(batch.batch_id, True, "run")
        answers.put((receipt.new, opened))


def test_processes_at_once_never_take_a_request_twice(location):
    gate, queue = processes.Barrier(3), processes.Queue()
    workers = [processes.Process(target=work, args=(location, gate, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(new for new, _ in answers) == [0, 0, 30]
    opened = [batch for _, batches in answers for batch in batches]
    assert sorted(opened) == [[f"r{n:03}" for n in range(start, start + 3)] for start in range(0, 30, 3)]
    with Ledger(location) as ledger:
        assert ledger.verify_audit() == 30 * 5
        assert ledger.counts()["awaiting_promotion"] == 30
