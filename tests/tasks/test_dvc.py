"""dvc.yaml is what the steps declare, for the paths that params.yaml names."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tasks.dvc import LEFT_OUT, stages, write_stages
from tasks.params import load_params
from tasks.stamp import code_files
from tasks.steps import NAMES, load_step
from tasks.workspace import Workspace
from unilogit.data.example import generate_example
from unilogit.errors import InputError

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
    assert len(outputs(stage)) == len(set(step.writes) - set(LEFT_OUT))


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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with git, DVC and this project's .dvcignore, where models and records lie in some places."""
    for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        monkeypatch.setenv(f"DVC_{name}_DIR", str(tmp_path / name.lower()))
    folder = tmp_path / "project"
    for place in ("var/retain_models/a", "var/models/a", "models/a", "unilogit", "tasks"):
        (folder / place).mkdir(parents=True)
        (folder / place / "config.json").write_text("{}")
    for name in (".dvcignore", ".gitignore", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    for package in ("tasks", "unilogit"):
        shutil.copytree(ROOT / package, folder / package, dirs_exist_ok=True)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    return folder


def write(*overrides):
    return write_stages(load_params("params.yaml", list(overrides)))


def test_what_lies_where_dvc_does_not_look_is_refused(project):
    with pytest.raises(InputError, match=r"model.retain: var/retain_models/a lies where DVC does not look"):
        write("model.retain=var/retain_models/a")
    assert not (project / "dvc.yaml").exists()
    assert write("model.retain=var/models/a").startswith("dvc.yaml: ")
    assert (project / "dvc.yaml").exists()


def test_a_folder_in_which_dvc_cannot_work_is_told(project):
    shutil.rmtree(project / ".git")
    with pytest.raises(InputError, match="type `git init` where it is no git repository"):
        write()


def test_what_an_experiment_would_commit_is_warned_of(project):
    assert "warning: model.retain: git sees models/a, so `dvc exp run` commits it" in write("model.retain=models/a")
    subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", "models/a"], check=True)
    assert "warning" not in write("model.retain=models/a")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.base=org/model",),
        ("data.holdout=null",),
        ("model.retain=var/models/a",),
        ("model.base=org/model", "data.holdout=null", "model.retain=null"),
    ],
)
def test_dvc_understands_what_is_written(project, overrides):
    write(*overrides)
    with Repo() as repository:
        paths = {stage.addressing: {part.def_path for part in stage.deps} for stage in repository.index.stages}
        repository.index.check_graph()
    of_the_example = {"example", "train"} if "data.holdout=null" in overrides else set()
    assert set(paths) == {*NAMES, "summary"} - {"store"} - of_the_example
    assert ("var/models/a" in paths["retain_model"]) == ("model.retain=var/models/a" in overrides)
    assert "org/model" not in paths["parent"] | paths["retain_model"]
    assert ("var/example/holdout.jsonl" in paths["extract"]) == ("data.holdout=null" not in overrides)


SAME_EVERYWHERE = ["example", "validate", "intake", "extract"]


def locked():
    return yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]


def md5(file):
    return hashlib.md5(file.read_bytes()).hexdigest()


def test_the_committed_lock_is_of_the_stages_whose_hashes_are_the_same_everywhere(tmp_path):
    lock, written = locked(), made()
    assert sorted(lock) == sorted(SAME_EVERYWHERE)
    for name, stage in lock.items():
        assert sorted(out["path"] for out in stage["outs"]) == sorted(outputs(written[name]))
        assert stage["cmd"] == written[name]["cmd"]
    generate_example(tmp_path, **load_params("params.yaml").example.model_dump())
    hashes = {out["path"]: out["md5"] for out in lock["example"]["outs"]}
    for name in ("corpus.jsonl", "holdout.jsonl"):
        assert hashes[f"var/example/{name}"] == md5(tmp_path / name)


@pytest.mark.slow
def test_the_example_gives_the_locked_hashes_here(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "var"))
    for name in SAME_EVERYWHERE:
        workspace = Workspace(Path("var/example" if name == "example" else "var/repro"))
        load_step(name).run(workspace, load_params("params.yaml"))
        for out in locked()[name]["outs"]:
            path = Path(out["path"])
            if path.is_dir():
                entries = [
                    {"md5": md5(file), "relpath": str(file.relative_to(path))}
                    for file in sorted(path.rglob("*"))
                    if file.is_file()
                ]
                listed = hashlib.md5(json.dumps(entries).encode()).hexdigest() + ".dir"
            assert out["md5"] == (listed if path.is_dir() else md5(path)), path
