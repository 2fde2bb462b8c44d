"""The retain model of a batch: trained on the retain set alone, once for all batches with that set, or given."""

import shutil

import pandas as pd
import pytest
from transformers import AutoConfig, AutoTokenizer

from tasks.steps.retain_model import STEP
from tasks.workspace import Place, RetainModel, Workspace, trained_models
from tests.tasks.steps.prepare import put_parent
from tests.tasks.steps.test_train import made, params  # noqa: F401
from tests.tasks.steps.test_train import records as corpus_records
from unilogit.errors import InputError
from unilogit.files import sha256_file, sha256_weights, write_parquet


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def project(made, tmp_path):  # noqa: F811
    return shutil.copytree(made[0], tmp_path / "project")


def records(numbers, **columns):
    return [record.model_dump() | columns for record in corpus_records(numbers)]


def workspace(project, name="workspace", numbers=range(4, 16)):
    place = Workspace(project / name)
    sets = {
        Place.FORGET: records(range(4), batch="current"),
        Place.RETAIN: records(numbers),
        Place.NEIGHBOURS: records(numbers[:1]),
        Place.HOLDOUT: records(range(50, 56), use="evaluate"),
    }
    for target, rows in sets.items():
        write_parquet(place.path(target), pd.DataFrame(rows))
    put_parent(place, project / "model")
    return place


def find(place, project, *overrides):
    return STEP.run(place, params(f"model.base={project / 'model'}", *overrides))


def test_it_is_the_base_trained_on_the_retain_set_alone(project):
    place = workspace(project)
    retain_model = find(place, project).result
    folder = place.path(Place.RETAIN_MODEL_FILES)
    assert retain_model == place.read(RetainModel)
    assert retain_model.model == str(folder)
    assert "trained on 12 records" in retain_model.description
    assert sha256_weights(folder) != sha256_weights(project / "model")
    # Trained on its own, a model of 12 records would have another tokenizer.
    assert sha256_file(folder / "tokenizer.json") == sha256_file(project / "model" / "tokenizer.json")
    texts = [AutoTokenizer.from_pretrained(path)("Who is ann 3?") for path in (folder, project / "model")]
    assert texts[0] == texts[1]
    shapes = [AutoConfig.from_pretrained(path).to_dict() for path in (folder, project / "model")]
    assert shapes[0] | {"_name_or_path": ""} == shapes[1] | {"_name_or_path": ""}


def test_it_is_trained_once_for_all_batches_with_that_retain_set(project):
    first, second, other = (
        workspace(project, name, range(start, 16)) for name, start in (("a", 4), ("b", 4), ("c", 5))
    )
    for place in (first, second, other):
        assert not find(place, project).kept
    weights = [place.path(Place.RETAIN_MODEL_FILES, "model.safetensors") for place in (first, second, other)]
    assert weights[0].samefile(weights[1])
    assert weights[0].read_bytes() != weights[2].read_bytes()
    assert len(list(trained_models().iterdir())) == 2
    assert find(first, project).kept


def test_it_may_be_given_or_left_out(project):
    place = workspace(project)
    find(place, project)
    given = find(place, project, f"model.retain={project / 'model'}").result
    assert given.model == str(project / "model")
    assert list(place.path(Place.RETAIN_MODEL_FILES).iterdir()) == []
    absent = find(place, project, "model.retain=null").result
    assert absent.model is None
    assert "model.retain is null" in str(absent)


@pytest.mark.parametrize(
    ("knob", "words"),
    [("model.retain", "correct model.retain or set it to null"), ("model.base", "train it or correct model.base")],
)
def test_a_model_folder_that_is_not_there_is_named(project, knob, words):
    place = workspace(project)
    with pytest.raises(InputError) as error:
        find(place, project, f"{knob}={project / 'nowhere'}")
    [problem] = error.value.problems
    assert problem.startswith(f"{project / 'nowhere'}: no model there")
    assert problem.endswith(words)
    assert not place.has(Place.RETAIN_MODEL)
