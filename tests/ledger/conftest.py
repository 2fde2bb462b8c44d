"""Ledgers to test with, each on SQLite and on PostgreSQL: an empty one, and one whose batch is closed."""

import os
import uuid

import pytest
import sqlalchemy as sa

from tests.ledger.lives import CORPUS, make_request, open_batch, take
from tests.ledger.postgresql import HOW_TO_INSTALL, programs, running_server
from unilogit.ledger import Ledger


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a server that runs while the tests do."""
    folder = programs()
    if folder is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW_TO_INSTALL)
    with running_server(folder) as url:
        yield url


@pytest.fixture
def path(tmp_path):
    """Where no ledger is yet, on SQLite."""
    return tmp_path / "var" / "ledger.db"


@pytest.fixture
def schema(postgresql):
    """The URL of an empty schema of the server."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(postgresql)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(name))
    yield f"{postgresql}?options=-csearch_path={name}"
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request):
    """Where no ledger is yet."""
    return request.getfixturevalue("path" if request.param == "sqlite" else "schema")


@pytest.fixture
def ledger(location):
    with Ledger(location) as ledger:
        yield ledger


@pytest.fixture
def closed(location):
    """The location of a closed ledger whose audit table has 16 rows."""
    with Ledger(location) as ledger:
        take(ledger, *[make_request(f"r{n}", "Zoë Quux") for n in range(3)])
        batch = open_batch(ledger)
        ledger.watch(batch.batch_id, ["r1"], CORPUS, "run")
        assert ledger.begin_training(batch.batch_id, "run") == []
        ledger.unlearned(batch.batch_id, "run")
        ledger.finish_batch(batch.batch_id, True, "run")
        assert ledger.verify_audit() == 16
    return location
