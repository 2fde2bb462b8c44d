"""Ledgers to test with: an empty one, and one whose batch is closed."""

import pytest

from tests.ledger.lives import make_request, take
from unilogit.ledger import Ledger


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "ledger.db"


@pytest.fixture
def ledger(path):
    with Ledger(path) as ledger:
        yield ledger


@pytest.fixture
def closed(path):
    """The path of a closed ledger whose audit table has 14 rows."""
    with Ledger(path) as ledger:
        take(ledger, *[make_request(f"r{n}", "Zoë Quux") for n in range(3)])
        batch = ledger.open_batch(3, "run")
        ledger.no_match(batch.batch_id, ["r1"], "run")
        ledger.unlearned(batch.batch_id, "run")
        ledger.finish_batch(batch.batch_id, True, "run")
        assert ledger.verify_audit() == 14
    return path
