"""Promotion made true in a real ledger: requests fulfilled, certificates written, however often and whenever killed."""

from datetime import UTC, datetime

import pytest

from tasks.params import load_params
from tasks.registry.lineage import Ancestor, Champion
from tasks.requests.batches import finish, open_ledger, record_unlearned, take_batch
from tasks.requests.certificates import certificate_files, keygen, open_signer
from tasks.requests.reconcile import settle
from tasks.workspace import Place, run_folder
from tests.tasks.requests.certifiable import ADA, BOB, NOTHING, build_certifiable
from unilogit.certificates import verify
from unilogit.errors import InputError
from unilogit.files import sha256_file, write_json

RUN = "run-1"


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    (tmp_path / "corpus.jsonl").write_text("a corpus\n")
    return load_params("params.yaml", [f"data.corpus={tmp_path / 'corpus.jsonl'}"])


@pytest.fixture
def champion(params):
    """Of a batch that awaits promotion; one of its requests is watched."""
    with open_ledger() as ledger:
        ledger.receive("a.jsonl", "0" * 64, [ADA, BOB, NOTHING], [], RUN)
    batch = take_batch(params, False, RUN)
    with open_ledger() as ledger:
        ledger.watch(batch.batch_id, [NOTHING.reference], "corpus", RUN)
    record_unlearned(batch, RUN)
    finish(batch, RUN, passed=True)
    build_certifiable(run_folder(batch.batch_id))
    write_json(batch.workspace.path(Place.VERSION_PARAMS), params.as_dict())
    lineage = (Ancestor("4", batch.batch_id), Ancestor("3", ""))
    return Champion(
        name="example-assistant",
        version="4",
        lineage=lineage,
        approved_by="an officer",
        approved_at=datetime(2026, 3, 1, tzinfo=UTC),
        versions=("4", "3", "2"),
        aliases={"4": ("champion",), "3": ("previous",)},
    )


def states():
    with open_ledger() as ledger:
        ledger.verify_audit()
        return {row.reference: str(row.state) for row in ledger.requests()}


def test_without_a_key_nothing_is_closed(champion, params):
    with pytest.raises(InputError, match="type `unilogit certificates keygen`"):
        settle(champion, params, RUN)
    assert set(states().values()) == {"awaiting_promotion", "watched"}


def test_requests_are_fulfilled_each_with_its_certificate(champion, params):
    keygen()
    assert settle(champion, params, RUN).fulfilled == {"4": 2}
    assert states() == {"ref-0": "fulfilled", "ref-1": "fulfilled", "ref-2": "watched"}
    with open_ledger() as ledger:
        digests = {ledger.find(name).certificate_sha256 for name in ("ref-0", "ref-1")}
        assert all("an officer" in ledger.history(name)[-1].why for name in ("ref-0", "ref-1"))
    assert {sha256_file(file) for file in certificate_files()} == digests
    for file in certificate_files():
        predicate = verify(file.read_bytes(), [open_signer().public_key]).predicate
        assert predicate.promotion.approved_by == "an officer"
        assert predicate.model.parent_versions == ["3"]
        weights = [copy.where for copy in predicate.remaining_copies if copy.holds == "weights"]
        assert any("version 3 (previous)" in where for where in weights)
        assert any("version 2" in where for where in weights)


def test_once_more_changes_nothing(champion, params):
    keygen()
    settle(champion, params, RUN)
    before = {file: file.read_bytes() for file in certificate_files()}
    assert settle(champion, params, RUN).fulfilled == {}
    assert {file: file.read_bytes() for file in certificate_files()} == before


def test_a_kill_between_certificates_and_ledger_makes_none_twice(champion, params, monkeypatch):
    keygen()
    with monkeypatch.context() as patch:
        patch.setattr("unilogit.ledger.Ledger.fulfil", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            settle(champion, params, RUN)
    written = {file: file.read_bytes() for file in certificate_files()}
    assert len(written) == 2
    assert "fulfilled" not in states().values()
    settle(champion, params, RUN)
    assert {file: file.read_bytes() for file in certificate_files()} == written
    assert list(states().values()).count("fulfilled") == 2


def test_a_workspace_whose_weights_were_changed_proves_nothing(champion, params):
    keygen()
    file = run_folder(champion.lineage[0].batch_id) / Place.MODEL / "model-1.safetensors"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(InputError, match="its weights are not those of"):
        settle(champion, params, RUN)
    assert "fulfilled" not in states().values()
