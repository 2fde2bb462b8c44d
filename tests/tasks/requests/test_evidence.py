"""A batch's workspace as evidence: each certificate says what brute force says, and nobody's name."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from tasks.params import load_params
from tasks.requests.evidence import WITHHELD, Evidence
from tasks.workspace import Extraction, ParentModel, Place, Registration
from tests.tasks.requests.certifiable import (
    ADA,
    BOB,
    DAY,
    GATES,
    LIKELIEST,
    NOTHING,
    PERSONAL,
    PROMOTION,
    build_certifiable,
)
from tests.tasks.workspaces import gate
from unilogit.data.pseudonyms import Pseudonyms
from unilogit.errors import InputError
from unilogit.files import sha256_file, sha256_weights

PSEUDONYMS = Pseudonyms(b"\x07" * 32)
FULFILLED = DAY + timedelta(hours=2)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return build_certifiable(tmp_path_factory.mktemp("runs") / "batch-7")


def evidence(workspace, *overrides, promotion=PROMOTION):
    return Evidence(workspace, promotion, load_params("params.yaml", list(overrides)))


def predicate(workspace, request, *overrides, **fields):
    return evidence(workspace, *overrides, **fields).certificate(request, PSEUDONYMS, FULFILLED).predicate


def test_what_was_asked(workspace):
    asked = predicate(workspace, ADA).request
    assert asked.model_dump(mode="json", by_alias=True) == {
        "reference": "ref-0",
        "legalBasis": "GDPR Art. 17(1)(b)",
        "source": WITHHELD,
        "receivedAt": "2026-01-02T02:04:05Z",
        "dueAt": "2026-02-01T02:04:05Z",
        "fulfilledAt": "2026-03-01T14:00:00Z",
    }
    assert predicate(workspace, BOB).request.source == "dsr-desk"


def test_whom_it_is_about(workspace):
    ada, bob = (predicate(workspace, request).person for request in (ADA, BOB))
    assert (ada.pseudonym, ada.records, ada.measured_records) == (PSEUDONYMS.subject("secret-ada"), 4, 4)
    assert (ada.highest_probability, bob.highest_probability) == (0.09, 0.04)
    assert (bob.pseudonym, bob.records, bob.measured_records) == (None, 1, 1)


def test_what_was_searched_and_found(workspace):
    search = predicate(workspace, ADA).search
    assert search.corpus_sha256 == sha256_file(workspace.path(Place.CORPUS))
    assert search.corpus_records == 95
    assert search.selectors == {"subject_id": 1, "aliases": 2, "record_ids": 0, "text": 0}
    assert search.matches == {"subject_id": 3, "near_duplicate": 1}
    assert search.near_duplicate_threshold == 0.8
    for setting, threshold in (("review", 0.8), ("off", None)):
        search = predicate(workspace, BOB, f"extract.near_duplicates='{setting}'").search
        assert search.near_duplicate_threshold == threshold
    assert search.selectors == {"subject_id": 0, "aliases": 0, "record_ids": 1, "text": 0}


def test_the_model_and_its_files(workspace):
    certificate = evidence(workspace).certificate(ADA, PSEUDONYMS, FULFILLED)
    model = workspace.path(Place.MODEL)
    names = ["model-1.safetensors", "model-2.safetensors"]
    assert [file.name for file in certificate.subject] == names
    assert [file.digest for file in certificate.subject] == [
        {"sha256": hashlib.sha256((model / name).read_bytes()).hexdigest()} for name in names
    ]
    assert certificate.predicate.model.model_dump() == {
        "name": "example-assistant",
        "version": "4",
        "weights_sha256": sha256_weights(model),
        "parent_versions": ["3", "1"],
        "parent_sha256": "cd" * 32,
        "batch_id": "batch-7",
        "method": "unilogit",
        "training_steps": 48,
        "params_md5": "0" * 32,
        "data_md5": "1" * 32 + ".dir",
        "git_commit": "f" * 40,
    }
    code = certificate.predicate.code
    assert (code.package, code.version, code.git_commit) == ("unilogit", "0.1.0", "f" * 40)


def test_every_gate_then_every_attack_that_none_judges(workspace):
    tests = predicate(workspace, ADA).tests
    assert [(test.name, test.op, test.threshold) for test in tests[: len(GATES)]] == [
        (gate.name, gate.op, gate.threshold) for gate in GATES
    ]
    values = {test.metric: test.value for test in tests}
    assert values == {
        "forget.probability": 0.04,
        "forget_all.probability": 0.038,
        "robustness.quantised_4_bit_probability": 0.02,
        "forget_quality.log10_p_value": -0.5,
        "model_utility": 0.95,
        "membership_inference.loss_auc": 0.55,
        "robustness.sampling_rouge_l_recall": 0.3,
    }
    assert {test.metric: test.worst for test in tests if test.worst} == {"forget.probability": LIKELIEST}
    scopes = {test.metric: (test.scope, test.op, test.threshold) for test in tests[len(GATES) :]}
    assert scopes == {
        "membership_inference.loss_auc": ("forget", None, None),
        "robustness.sampling_rouge_l_recall": ("robustness", None, None),
    }


def test_values_are_the_persons_own(workspace):
    ada, bob = ({test.metric: test.person for test in predicate(workspace, who).tests} for who in (ADA, BOB))
    assert ada["forget.probability"].after == pytest.approx((0.01 + 0.02 + 0.09 + 0.04) / 4)
    assert ada["forget.probability"].before == pytest.approx(1.6 / 4)
    assert bob["forget.probability"].after == 0.04
    assert bob["forget.probability"].reason is None
    assert bob["robustness.quantised_4_bit_probability"].after is None
    assert "none of these records" in bob["robustness.quantised_4_bit_probability"].reason
    assert ada["model_utility"].reason == bob["model_utility"].reason == "it is not measured on what was forgotten"


def test_who_approved_and_where_copies_remain(workspace):
    content = predicate(workspace, ADA, "requests.keep_days=10")
    assert content.promotion.model_dump() == {
        "approved_by": "officer",
        "approved_at": DAY,
        "aliases": ["candidate", "champion"],
    }
    copies = {copy.where: (copy.holds, copy.deleted_by) for copy in content.remaining_copies}
    last_day = FULFILLED + timedelta(days=10)
    assert copies["the workspace of batch batch-7"] == ("texts", last_day)
    assert copies["the ledger and the request files that were taken in"] == ("texts", last_day)
    assert copies["the DVC cache and its remote"] == ("texts", last_day)
    assert copies["example-assistant version 3 (previous)"] == ("weights", None)
    assert copies["example-assistant version 1"] == ("weights", None)
    assert {where for where, (_, end) in copies.items() if end is None} > {"example-assistant version 1"}


def test_the_base_of_an_adapter_is_a_copy_that_remains(workspace):
    before = workspace.read(Registration)
    assert not [copy for copy in predicate(workspace, ADA).remaining_copies if "adapter" in copy.where]
    workspace.write(before.model_copy(update={"tags": before.tags | {"base_model": "/models/base"}}))
    [copy] = [copy for copy in predicate(workspace, ADA).remaining_copies if "adapter" in copy.where]
    workspace.write(before)
    assert (copy.where, copy.holds) == ("the model that this version is an adapter on, without it", "weights")


def test_residual_risk_names_what_lies_beyond(workspace):
    text = "\n".join(predicate(workspace, ADA, promotion=replace(PROMOTION, approved_by=None)).residual_risk)
    assert "no proof of absence" in text
    assert "has a probability of 0.090" in text


def test_nobodys_data_is_in_it(workspace):
    for request in (ADA, BOB):
        certificate = evidence(workspace).certificate(request, PSEUDONYMS, FULFILLED)
        text = json.dumps(certificate.model_dump(mode="json"), ensure_ascii=False)
        assert not [part for part in PERSONAL if part in text]
        assert request.request_id == "R-bob" or request.request_id not in text
    stored = pd.read_parquet(workspace.path(Place.FORGET)).to_json()
    assert [part for part in PERSONAL if part in stored] == ["Odalys", "Quenneville", "secret-", "record-"]


def test_what_cannot_be_certified_is_refused(tmp_path):
    workspace = build_certifiable(tmp_path / "batch-8")
    with pytest.raises(InputError, match="request ref-2: batch batch-8 forgot nothing for it"):
        predicate(workspace, NOTHING)
    with pytest.raises(InputError, match="became version 4 of example-assistant, not version 5"):
        evidence(workspace, promotion=replace(PROMOTION, version="5"))
    (workspace.path(Place.MODEL) / "model-2.safetensors").write_bytes(b"changed")
    with pytest.raises(InputError, match="its weights are not those of example-assistant version 4"):
        evidence(workspace)
    failed = build_certifiable(tmp_path / "batch-9", gates=[*GATES, gate("strict", threshold=0.001)])
    with pytest.raises(InputError, match="a gate failed; nothing may be certified"):
        evidence(failed)


@pytest.mark.parametrize("place", [Place.REGISTRATION, Place.EXTRACTION, Place.CORPUS_COUNTS])
def test_a_step_that_was_not_run_is_named(tmp_path, place):
    workspace = build_certifiable(tmp_path / "batch-7")
    workspace.path(place).unlink()
    with pytest.raises(InputError, match="has not been run yet"):
        evidence(workspace)


def test_models_that_were_not_measured_are_named(tmp_path):
    workspace = build_certifiable(tmp_path / "batch-7")
    workspace.measured("after")[1].unlink()
    with pytest.raises(InputError, match=r"after\.parquet: no such file; the step evaluate"):
        evidence(workspace)


def test_a_version_of_before_has_no_code_version(tmp_path):
    workspace = build_certifiable(tmp_path / "batch-7")
    registration = workspace.read(Registration)
    tags = {name: value for name, value in registration.tags.items() if name != "unilogit_version"}
    workspace.write(registration.model_copy(update={"tags": tags | {"data_md5": ""}}))
    workspace.write(ParentModel(model="some/base", version=None, files_sha256="some/base"))
    workspace.write(workspace.read(Extraction).model_copy(update={"matches": {}}))
    content = predicate(workspace, ADA)
    assert (content.code.version, content.search.matches, content.model.parent_sha256) == ("", {}, "some/base")
    assert not [copy for copy in content.remaining_copies if "DVC" in copy.where]
