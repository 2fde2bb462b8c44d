"""The model a batch starts from: the base while there is no champion; chosen once."""

import pytest
from transformers import LlamaConfig

from tasks.params import load_params
from tasks.requests.promotion import promote
from tasks.steps.parent import STEP
from tasks.steps.register import run_register
from tasks.workspace import ParentModel, Place, Workspace
from tests.tasks.workspaces import build_registrable
from unilogit.errors import InputError
from unilogit.files import sha256_weights


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
