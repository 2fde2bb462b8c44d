"""The model a batch starts from: the base while there is no champion; chosen once."""

import re

import pytest
from transformers import LlamaConfig

from tasks.params import load_params
from tasks.registry.start import check_forgotten
from tasks.requests.promotion import promote
from tasks.steps.parent import STEP
from tasks.steps.register import run_register
from tasks.workspace import ParentModel, Place, Workspace
from tests.tasks.workspaces import build_registrable, forget_set, save_model
from unilogit.errors import InputError
from unilogit.files import sha256_weights, write_parquet


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


def params(folder):
    return load_params("params.yaml", [f"model.base={folder}"])


@pytest.mark.parametrize("is_batch", [True, False])
def test_the_base_is_the_parent_while_there_is_no_champion(home, tmp_path, is_batch):
    LlamaConfig().save_pretrained(tmp_path / "base")
    workspace = Workspace(home / "runs" / "batch-1" if is_batch else tmp_path / "repro")
    chosen = STEP.run(workspace, params(tmp_path / "base")).result
    assert (chosen.model, chosen.version) == (str(tmp_path / "base"), None)
    assert workspace.read(ParentModel) == chosen
    assert STEP.run(workspace, params(tmp_path / "base")).kept
    (tmp_path / "base" / "config.json").write_text('{"model_type": "llama"}')
    assert STEP.run(workspace, params(tmp_path / "base")).result.files_sha256 != chosen.files_sha256


@pytest.mark.parametrize("is_batch", [True, False])
def test_only_a_batch_starts_from_the_champion(home, tmp_path, is_batch):
    parameters = load_params("params.yaml", [f"model.base={tmp_path / 'base'}"])
    LlamaConfig().save_pretrained(tmp_path / "base")
    run_register(build_registrable(home / "runs" / "batch-1", parameters), parameters)
    promote(parameters.register_.registered_model, "1", "a reviewer")
    workspace = Workspace(home / "runs" / "batch-2" if is_batch else tmp_path / "repro")
    chosen = STEP.run(workspace, parameters).result
    if is_batch:
        assert (chosen.version, chosen.model) == ("1", str(workspace.path(Place.PARENT_FILES, "model")))
        assert sha256_weights(chosen.model) == sha256_weights(home / "runs" / "batch-1" / "model")
    else:
        assert (chosen.version, chosen.model) == (None, str(tmp_path / "base"))


def test_what_is_no_model_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    for folder in (tmp_path / "nowhere", tmp_path / "empty", broken):
        with pytest.raises(InputError) as error:
            STEP.run(Workspace(tmp_path / "w"), params(folder))
        [problem] = error.value.problems
        assert problem.startswith(f"model.base = {str(folder)!r}: no model there (")
        assert problem.endswith("give a Hugging Face folder or hub name")
        assert not (tmp_path / "w").exists()


@pytest.fixture
def failed(home, tmp_path):
    """A version of the base whose gates failed: its batch, and parameters that go on from it."""
    save_model(tmp_path / "base", 1)
    parameters = load_params("params.yaml", [f"model.base={tmp_path / 'base'}"])
    batch = build_registrable(home / "runs" / "batch-1", parameters, forget_probability=0.9)
    run_register(batch, parameters)
    return batch, parameters


def with_(parameters, *overrides):
    return load_params("params.yaml", [f"model.base={parameters.model.base}", "model.start=1", *overrides])


def test_unlearning_goes_on_from_the_version_that_is_named(failed, home):
    batch, parameters = failed
    workspace = Workspace(home / "runs" / "batch-2")
    chosen = STEP.run(workspace, with_(parameters)).result
    assert (chosen.model, chosen.version, chosen.start_version) == (parameters.model.base, None, 1)
    assert chosen.start == str(workspace.path(Place.START_FILES, "model"))
    assert sha256_weights(chosen.start) == sha256_weights(batch.path(Place.MODEL))
    assert str(chosen) == f"starts from {parameters.model.base}; unlearning goes on from version 1"
    assert STEP.run(workspace, with_(parameters)).kept
    assert STEP.run(workspace, parameters).result.start is None


def test_a_version_that_cannot_be_gone_on_from_is_refused(failed, home):
    _, parameters = failed
    workspace = Workspace(home / "runs" / "batch-2")
    for override, problem in {
        "model.start=7": "model.start = 7: example-assistant has no such version; `unilogit models list`",
        "unlearn.learning_rate=auto": "give unlearn.learning_rate a number",
        "unlearn.method=none": "unlearn.method none goes on from nothing; set it to null",
        "register.save=adapter": "only whole models can be gone on from; set register.save to merged",
    }.items():
        others = ["unlearn.lora_rank=2"] if "adapter" in override else []
        with pytest.raises(InputError, match=re.escape(problem)):
            STEP.run(workspace, with_(parameters, override, *others))
    assert not workspace.has(Place.PARENT)


def test_a_version_of_another_model_is_refused(failed, home):
    _, parameters = failed
    other = Workspace(home / "runs" / "batch-2")
    run_register(build_registrable(other.root, parameters, seed=5), parameters)
    promote(parameters.register_.registered_model, "2", "a reviewer")
    problem = "model.start = 1: it was made from the base model, and this run is from version 2; set it to null"
    with pytest.raises(InputError, match=problem):
        STEP.run(Workspace(home / "runs" / "batch-3"), with_(parameters))


def test_who_is_not_to_be_forgotten_is_not_forgotten_by_going_on(failed, home):
    batch, parameters = failed
    workspace, both = Workspace(home / "runs" / "batch-2"), forget_set([["ada"], ["bo"]])
    write_parquet(batch.path(Place.FORGET), both)
    write_parquet(workspace.path(Place.FORGET), both.iloc[:1])
    check_forgotten(workspace, parameters)  # which does not go on
    _, withdrawn = both["record_id"]
    problem = rf"made to forget 1 records that this batch does not \(the first: {withdrawn}\)"
    with pytest.raises(InputError, match=problem):
        check_forgotten(workspace, with_(parameters))
    write_parquet(workspace.path(Place.FORGET), both)
    check_forgotten(workspace, with_(parameters))
    batch.path(Place.FORGET).unlink()
    with pytest.raises(InputError, match="is not there, so nobody can tell whom it forgot"):
        check_forgotten(workspace, with_(parameters))
