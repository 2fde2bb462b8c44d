"""SIGKILL at instants spread over import, batching, extraction, reconcile and purge, on SQLite and on PostgreSQL.

The same command once more ends as if nothing had happened.
"""

import json
import os
import re
import shutil
import signal
import uuid
from collections import Counter

import pytest
import sqlalchemy as sa

from tests.e2e.conftest import make_project
from tests.e2e.quick import QUICK, pass_all_gates
from tests.e2e.test_kills import run
from tests.ledger.postgresql import HOW_TO_INSTALL, programs, running_server
from unilogit.ledger import Ledger

pytestmark = pytest.mark.slow

KILLS = {"extract": 9, "reconcile": 8, "purge": 8}  # on each database
NAME = "example-assistant"
BATCH = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
# Of servers; and what is called by where the registry is.
LEFT_OUT = ("prefect/", "logs/", "mlartifacts/", "example/", "retain_models/", "checked_weights/")


class Server:
    """A PostgreSQL server whose databases can be copied."""

    def __init__(self, url):
        self.url = sa.make_url(url)

    def copy(self, template="template1"):
        """The URL of a new database."""
        name = f"ledger_{uuid.uuid4().hex[:12]}"
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        engine.dispose()
        return self.url.set(database=name).render_as_string(hide_password=False)


class Sqlite:
    """Its ledger is a file of the home, which is copied with it."""

    def copy(self, template=""):
        return ""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request):
    if request.param == "sqlite":
        yield Sqlite()
        return
    folder = programs()
    if folder is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW_TO_INSTALL)
    with running_server(folder) as url:
        yield Server(url)


@pytest.fixture(scope="module")
def stages(store, tmp_path_factory):
    """Work → the folder and the ledger that it is done in."""
    project = make_project(tmp_path_factory.mktemp("stages"))
    project.change_params(**QUICK, requests={"keep_days": 0})
    pass_all_gates(project)
    for step in ("example", "train"):
        project.succeed("python", "-m", f"tasks.steps.{step}", "--workspace", "var/example")
    kept = {"extract": keep(project, store, tmp_path_factory, "")}
    ledger = store.copy()
    with_ledger(project, ledger)
    project.succeed("unilogit", "run")
    project.succeed("unilogit", "models", "promote", NAME, "1", "--by", "a reviewer")
    project.succeed("unilogit", "certificates", "keygen")
    kept["reconcile"] = keep(project, store, tmp_path_factory, ledger)
    project.succeed("unilogit", "reconcile")
    corpus = project.folder / "var" / "example" / "corpus.jsonl"
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    forgotten = {"P-0001", "P-0002"}
    corpus.write_text("".join(f"{json.dumps(row)}\n" for row in rows if not forgotten & {*row["subject_ids"]}))
    kept["purge"] = keep(project, store, tmp_path_factory, ledger)
    return kept


def with_ledger(project, ledger):
    if ledger:
        project.environment["UNILOGIT_LEDGER"] = ledger


def keep(project, store, tmp_path_factory, ledger):
    folder = tmp_path_factory.mktemp("stage") / "project"
    shutil.copytree(project.folder, folder)
    return folder, store.copy(sa.make_url(ledger).database if ledger else "template1")


def start(stages, store, work, folder):
    """A copy of a stage; its ledger."""
    source, ledger = stages[work]
    shutil.copytree(source, folder)
    return store.copy(sa.make_url(ledger).database) if ledger else ""


def outcome(folder, ledger):
    """States, moves and files, whatever the batch is called."""
    with Ledger(ledger or folder / "var" / "ledger.db") as opened:
        opened.verify_audit()
        rows = list(opened.requests())
        states = {row.reference: str(row.state) for row in rows}
        moves = {row.reference: [str(move.to_state) for move in opened.history(row.reference)] for row in rows}
        batches = Counter(batch.passed for batch in opened.batches())
    home = folder / "var"
    paths = (str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    files = {BATCH.sub("BATCH", path) for path in paths if not path.startswith(LEFT_OUT)}
    return states, moves, batches, {file for file in files if not file.endswith((".lock", "-journal", "-wal", "-shm"))}


@pytest.fixture(scope="module")
def unbroken(stages, store, tmp_path_factory):
    """Work → what it ends with when nobody kills it, and its writes."""
    ends = {}
    for work in KILLS:
        folder = tmp_path_factory.mktemp("unbroken") / "project"
        ledger = start(stages, store, work, folder)
        log = folder.with_suffix(".log")
        code, told = run(folder, log, None, work, ledger)
        assert code == 0, told
        ends[work] = outcome(folder, ledger), log.read_text().splitlines()
    return ends


@pytest.mark.parametrize(("work", "place"), [(work, place) for work, kills in KILLS.items() for place in range(kills)])
def test_work_killed_at_a_write_is_ended_by_the_same_command(stages, store, unbroken, tmp_path, work, place):
    wanted, writes = unbroken[work]
    number = (2 * place + 1) * len(writes) // (2 * KILLS[work])
    folder = tmp_path / "project"
    ledger = start(stages, store, work, folder)
    code, told = run(folder, tmp_path / "killed.log", number, work, ledger)
    assert code == -signal.SIGKILL, f"write {number} of {len(writes)} was not reached\n{told}"
    code, told = run(folder, tmp_path / "again.log", None, work, ledger)
    assert code == 0, f"killed at {writes[number]}\n{told}"
    for name, end, should in zip(("states", "moves", "batches", "files"), outcome(folder, ledger), wanted, strict=True):
        assert end == should, f"killed at {writes[number]}: {name}"


def test_there_are_writes_of_every_part(unbroken):
    told = {work: "\n".join(writes) for work, (_, writes) in unbroken.items()}
    for part in ("/intake", "/requests", "/validated", "/data/.forget"):
        assert part in told["extract"]
    assert "/certificates" in told["reconcile"]
    assert "purge.json" in told["purge"]
    for writes in told.values():
        assert "commit" in writes
