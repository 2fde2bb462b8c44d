"""Requests to take in, and short ways to do so and to look at what became of them."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from unilogit.data.requests import DeletionRequest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CORPUS, LATER_CORPUS = "1" * 64, "2" * 64


def make_request(name, subject="somebody", days=30, received=NOON, row=1, file="a.jsonl", reference=""):
    return DeletionRequest(
        request_id=name,
        received_at=received,
        due_at=received + timedelta(days=days),
        subject_id=subject,
        reference=reference or name,
        file=file,
        row=row,
    )


def numbered_requests(count, start=0):
    return [make_request(f"r{number:03}", row=number + 1) for number in range(start, start + count)]


def digest(word):
    return hashlib.sha256(word.encode()).hexdigest()


def ids(batch):
    return [item.request_id for item in batch.requests]


def take(ledger, *requests, word="file"):
    return ledger.receive(f"{word}.jsonl", digest(word), iter(requests), iter([]), "run-1")


def open_batch(ledger, cap=100, corpus=CORPUS, attempts=3, run="run", retry_failed=False):
    return ledger.open_batch(cap, run, corpus, attempts, retry_failed)


def promoted_batch(ledger, cap=100):
    """The id of a batch that awaits promotion."""
    batch_id = open_batch(ledger, cap).batch_id
    assert ledger.begin_training(batch_id, "run") == []
    ledger.unlearned(batch_id, "run")
    ledger.finish_batch(batch_id, True, "run")
    return batch_id


def states(ledger):
    return {row.reference: row.state for row in ledger.requests()}


def connect(location):
    """An engine behind the ledger's back."""
    return sa.create_engine(f"sqlite:///{location}" if isinstance(location, Path) else location)


def run_sql(location, *statements):
    """Run statements behind the ledger's back; the rows of the last one."""
    engine = connect(location)
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
        rows = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return rows
