"""A whole life as people type it: request, batch, promotion, certificate, purge; and what is left of it afterwards."""

import json
import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from tasks.workspace import Place, Workspace
from tests.e2e.conftest import make_project
from tests.e2e.leaks import leaks, texts_of_the_forgotten
from tests.e2e.quick import QUICK, pass_all_gates

pytestmark = pytest.mark.slow
NAME = "example-assistant"


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The project, what the forgotten said, and what each command printed."""
    project = make_project(tmp_path_factory.mktemp("life"))
    project.change_params(**QUICK)
    pass_all_gates(project)
    for step in ("example", "train"):
        project.succeed("python", "-m", f"tasks.steps.{step}", "--workspace", "var/example")
    plant(project.folder / "var" / "example" / "requests")
    told = {"run": project.succeed("unilogit", "run")}
    [folder] = [path for path in (project.folder / "var" / "runs").iterdir() if not path.name.startswith(".")]
    workspace = Workspace(folder)
    forget = pd.read_parquet(workspace.path(Place.FORGET))
    people = {person for people in forget["subject_ids"] for person in people}
    secrets = texts_of_the_forgotten(workspace) | people
    outside = ("prefect/**/*", "mlflow.db*", "mlartifacts/**/*", "certificates/**/*")
    told["leaks"] = leaks(project.folder / "var", {PLANTED, f"{PLANTED}.jsonl"}, *outside)
    told["audit"] = audit(project)
    told["promote"] = project.succeed("unilogit", "models", "promote", NAME, "1", "--by", "a reviewer")
    told["no key"] = project.run("unilogit", "reconcile").stderr
    project.succeed("unilogit", "certificates", "keygen")
    told["reconcile"] = project.succeed("unilogit", "reconcile")
    told["again"] = project.succeed("unilogit", "reconcile")
    told["states"] = states(project)
    corpus = project.folder / "var" / "example" / "corpus.jsonl"
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    kept = [row for row in rows if row["record_id"] not in set(forget["record_id"])]
    corpus.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
    for name in [name for name, state in told["states"].items() if state == "watched"]:
        project.succeed("unilogit", "requests", "close", name, "--why", "the person was never in the corpus")
    said = {cell for row in [*kept, *holdout(project)] for cell in cells(row)}
    told["purge"] = project.succeed("unilogit", "purge", "--set", "requests.keep_days=0")
    told["states after"] = states(project)
    return project, {secret for secret in secrets if len(secret) > 3 and secret not in said}, told


PLANTED = "erase-P-0005@customers.example"  # the id of a request, and the name of its file


def plant(inbox):
    """A request whose id and whose file say whom it is about."""
    row = {"request_id": PLANTED, "received_at": "2026-03-03T15:00:00Z", "subject_id": "P-0005"}
    (inbox / f"{PLANTED}.jsonl").write_text(json.dumps(row) + "\n")


def holdout(project):
    return [
        json.loads(line) for line in (project.folder / "var" / "example" / "holdout.jsonl").read_text().splitlines()
    ]


def cells(row):
    """Every text in a row."""
    return {text for value in row.values() for text in (value if isinstance(value, list) else [value])}


def audit(project):
    """All that the audit table says."""
    with closing(sqlite3.connect(project.folder / "var" / "ledger.db")) as database:
        return str(database.execute("SELECT * FROM ledger_audit").fetchall())


def states(project):
    listed = project.succeed("unilogit", "requests", "list", "--output", "json")
    return {row["reference"]: row["state"] for row in map(json.loads, listed.splitlines())}


def test_every_request_reaches_its_end(life):
    _, _, told = life
    assert set(told["states"].values()) == {"fulfilled", "watched"}
    assert set(told["states after"].values()) == {"purged", "not_found"}
    assert "type `unilogit certificates keygen`" in told["no key"]
    assert f"{NAME} version 1 is champion; 4 requests fulfilled by version 1" in told["reconcile"]
    assert "all of its requests were fulfilled before" in told["again"]


def test_an_id_and_a_file_that_name_somebody_stay_in_ledger_and_workspace(life):
    _, _, told = life
    assert told["leaks"] == set()
    assert PLANTED not in told["run"]
    assert "P-0005" not in told["audit"]
    assert any(name.startswith("request-") for name in told["states"])


def test_every_fulfilled_request_has_a_certificate_that_verifies_after_the_purge(life):
    project, _, told = life
    fulfilled = {name for name, state in told["states"].items() if state == "fulfilled"}
    assert {file.stem for file in (project.folder / "var" / "certificates").glob("*.json")} == fulfilled
    assert "4 certificates, and all of them verify" in project.succeed("unilogit", "certificates", "verify")
    [name, *_] = sorted(fulfilled)
    shown = project.succeed("unilogit", "certificates", "show", name)
    predicate = json.loads(shown[shown.index("{") :])["predicate"]
    assert predicate["promotion"]["approvedBy"] == "a reviewer"
    assert predicate["person"]["records"] == predicate["person"]["measuredRecords"] > 0
    moves = json.loads(project.succeed("unilogit", "requests", "show", name, "--output", "json"))["moves"]
    assert [move["to_state"] for move in moves][-2:] == ["fulfilled", "purged"]


def test_afterwards_only_weights_know_the_forgotten(life):
    project, secrets, told = life
    assert len(secrets) > 50
    found = leaks(project.folder / "var", secrets)
    tokenizers = {(where, secret) for where, secret in found if where.split(",")[0].endswith("tokenizer.json")}
    assert found - tokenizers == set()
    for place in ("example/model", "/model"):
        assert any("may still know them" in line and place in line for line in told["purge"].splitlines())


def test_a_changed_certificate_is_found_and_named(life):
    project, _, _ = life
    file = min((project.folder / "var" / "certificates").glob("*.json"))
    content = file.read_text()
    assert "as they were written" in project.succeed("unilogit", "requests", "verify")
    file.write_text(content.replace('"payload": "', '"payload": "A', 1))
    for command in (("certificates", "verify"), ("requests", "verify")):
        done = project.run("unilogit", *command)
        assert done.returncode == 2
        assert str(file) in done.stderr
    file.unlink()
    done = project.run("unilogit", "requests", "verify")
    file.write_text(content)
    assert (done.returncode, f"{file}, is gone" in done.stderr) == (2, True)


def test_a_request_file_that_was_changed_after_it_was_taken_in_is_found_and_named(life):
    project, _, _ = life
    inbox = project.folder / "var" / "example" / "requests"
    row = {"request_id": "R-77", "received_at": "2026-03-03T15:00:00Z", "subject_id": "P-0006"}
    file = inbox / "late-requests.jsonl"
    file.write_text(json.dumps(row) + "\n")
    assert "1 new" in project.succeed("unilogit", "requests", "import", str(file))
    file.write_text(json.dumps(row | {"subject_id": "P-0007"}) + "\n")
    done = project.run("unilogit", "requests", "import", str(file))
    assert done.returncode == 2
    assert "late-requests.jsonl:1: request R-77 was taken in before with other content" in done.stderr


def test_a_changed_request_and_a_changed_audit_row_are_found_and_named(life):
    project, _, _ = life
    ledger = project.folder / "var" / "ledger.db"
    untouched = ledger.read_bytes()
    with closing(sqlite3.connect(ledger)) as database:
        database.execute("DROP TRIGGER ledger_audit_no_UPDATE")
        database.execute("UPDATE ledger_audit SET why = 'nothing' WHERE sequence = 3")
        asked = "SELECT reference, content FROM ledger_requests WHERE request_id = 'R-77'"
        name, content = database.execute(asked).fetchone()
        changed = content.replace('"subject_id":"', '"subject_id":"X')
        database.execute("UPDATE ledger_requests SET content = ? WHERE reference = ?", (changed, name))
        database.commit()
    done = project.run("unilogit", "requests", "verify")
    ledger.write_bytes(untouched)
    assert done.returncode == 2
    assert "ledger_audit, sequence 3: was changed" in done.stderr
    assert f"request {name}: what it asks was changed" in done.stderr
