"""dvc.yaml is what the steps declare, for the paths that params.yaml names."""

from pathlib import Path

import pytest
import yaml

from tasks.dvc import stages
from tasks.params import load_params
from tasks.stamp import code_files
from tasks.steps import NAMES, load_step
from tasks.workspace import Place

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def made(*overrides):
    return yaml.safe_load(stages(load_params("params.yaml", list(overrides))))["stages"]


def test_the_committed_file_is_not_stale():
    assert (ROOT / "dvc.yaml").read_text() == stages(load_params("params.yaml")), "type `unilogit dvc`"


def outputs(stage):
    """Paths of all that a stage makes."""
    listed = [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]
    return [path for entry in listed for path in (entry if isinstance(entry, dict) else [entry])]


def test_every_step_is_a_stage_but_the_one_that_dvc_does_itself():
    assert list(made()) == [*(name for name in NAMES if name != "store"), "summary"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "store"])
def test_a_stage_is_its_step(name):
    step, stage = load_step(name), made()[name]
    assert stage["cmd"].startswith(f"python -m tasks.steps.{name} --workspace var/")
    assert stage.get("params", []) == list(step.params)
    for file in filter(lambda file: (ROOT / file).stat().st_size, code_files(step.module)):
        assert {file, *map(str, Path(file).parents)} & set(stage["deps"]), file
    wanted = [place for place in step.writes if place != Place.PARENT_FILES]  # the base model lies where it is
    assert len(outputs(stage)) == len(wanted)


def test_what_is_compared_is_kept_by_git_and_the_rest_by_dvc():
    for name, stage in made().items():
        ours = [entry for entry in [*stage["outs"], *stage.get("metrics", [])] if isinstance(entry, dict)]
        assert (ours == []) == (name != "summary")
        assert all(path.startswith("metrics/") for entry in ours for path in entry)
        assert all(entry == {path: {"cache": False}} for entry in ours for path in entry)


def test_with_data_of_ones_own_nothing_of_the_example_is_made():
    own = made("data.corpus=own/corpus.jsonl", "model.base=own/the/model")
    assert not {"example", "train"} & set(own)
    assert "own/corpus.jsonl" in own["validate"]["deps"]
    assert "own/the/model" in own["parent"]["deps"]


def test_what_is_no_path_is_a_parameter_alone():
    hub = made("model.base=org/model", "data.holdout=null", "model.retain=null")
    assert "org/model" not in hub["parent"]["deps"]
    assert "model.base" in hub["parent"]["params"]
    assert "var/example/holdout.jsonl" not in hub["extract"]["deps"]
    assert "data.holdout" in hub["extract"]["params"]
    assert "model.retain" in hub["retain_model"]["params"]


def test_every_path_has_one_stage_that_makes_it_and_comes_before():
    seen = set()
    for name, stage in made().items():
        for path in stage["deps"]:
            ours = path.startswith("var/")
            assert not ours or any(path == one or path.startswith(f"{one}/") for one in seen), (name, path)
        assert not seen & set(outputs(stage))
        seen |= set(outputs(stage))
