"""Requests to take in, and short ways to do so and to look at what became of them."""

import hashlib
import sqlite3
from datetime import UTC, datetime, timedelta

from unilogit.data.requests import DeletionRequest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_request(name, subject="somebody", days=30, received=NOON, row=1, file="a.jsonl"):
    return DeletionRequest(
        request_id=name,
        received_at=received,
        due_at=received + timedelta(days=days),
        subject_id=subject,
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
    return ledger.receive(f"{word}.jsonl", digest(word), list(requests), [], "run-1")


def states(ledger):
    return {row.request_id: row.state for row in ledger.requests()}


def run_sql(path, *statements):
    """Run statements behind the ledger's back; the rows of the last one."""
    with sqlite3.connect(path) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    connection.close()
    return rows
