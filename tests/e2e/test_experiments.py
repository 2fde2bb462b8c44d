"""DVC as people use it beside `dvc repro`: experiments that compare numbers, and sources of other kinds."""

import json
import os
import re
import shutil

import pytest
import yaml

from tests.e2e.conftest import make_project
from tests.e2e.test_dvc import STAGES, stages_run
from unilogit.files import read_json

pytestmark = pytest.mark.slow
UNCHANGED = ("example", "train", "intake")  # with a corpus and a model of one's own


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("experiments"), with_code=True)
    project.change_params(unlearn={"epochs": 2, "min_steps": 1}, evaluate={"max_examples": 20})
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    project.change_params(evaluate={"robustness": {**params["evaluate"]["robustness"], "attacks": []}})
    project.succeed("git", "init", "--quiet")
    project.succeed("git", "config", "user.email", "somebody@example.org")
    project.succeed("git", "config", "user.name", "Somebody")
    project.succeed("dvc", "repro")
    commit(project)
    return project


def commit(project):
    project.succeed("git", "add", "--all")
    project.succeed("git", "commit", "--quiet", "--message", "As it is")


def numbers(project):
    return read_json(project.folder / "metrics" / "summary.json")


def test_two_experiments_are_shown_with_their_numbers(project):
    expected = {}
    for name, rate in (("slow", "1e-4"), ("fast", "2e-3")):
        project.succeed("dvc", "exp", "run", "--name", name, "--set-param", f"unlearn.learning_rate={rate}")
        expected[name] = numbers(project)
    shown = json.loads(project.succeed("dvc", "exp", "show", "--json"))
    [baseline] = [row for row in shown if row["rev"] != "workspace"]
    rows = {row["name"]: row for row in (one["revs"][0] for one in baseline["experiments"])}
    assert set(rows) >= {"slow", "fast"}
    for name in ("slow", "fast"):
        [metrics] = rows[name]["data"]["metrics"].values()
        assert metrics["data"] == expected[name]
    assert expected["slow"]["forget"] != expected["fast"]["forget"]
    table = project.succeed("dvc", "exp", "show", "--csv", "--no-pager")
    assert str(expected["fast"]["forget"]["probability"]) in table
    difference = json.loads(project.succeed("dvc", "metrics", "diff", "--json", "slow", "fast"))
    told = difference["metrics/summary.json"]["forget.probability"]
    assert told["diff"] == pytest.approx(told["new"] - told["old"])
    assert (told["old"], told["new"]) == tuple(expected[name]["forget"]["probability"] for name in ("slow", "fast"))
    project.succeed("dvc", "plots", "diff", "slow", "fast", "--out", "plots_page")
    page = (project.folder / "plots_page" / "index.html").read_text()
    assert re.search(r'"rev": ?"slow"', page)
    assert re.search(r'"rev": ?"fast"', page)


def test_an_experiment_commits_nobodys_data(project):
    files = project.succeed("git", "ls-tree", "-r", "--name-only", "HEAD").splitlines()
    for name in project.succeed("dvc", "exp", "list", "--name-only").split():
        [ref] = project.succeed("git", "for-each-ref", "--format=%(refname)", f"refs/exps/**/{name}").split()
        assert set(project.succeed("git", "ls-tree", "-r", "--name-only", ref).splitlines()) <= set(files)
    assert not [name for name in files if name.startswith("var/")]


def put_on_the_hub(project, folder):
    """What the cache of the hub holds of a model that was downloaded from there once."""
    model = project.folder / "hub" / "models--org--tiny"
    shutil.copytree(folder, model / "snapshots" / "0815")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("0815")
    project.environment |= {"HF_HUB_CACHE": str(model.parent), "HF_HUB_OFFLINE": "1"}


def test_a_hub_name_no_holdout_and_a_folder_as_retain_model(project):
    folder = project.folder
    retain = shutil.copytree(folder / "var" / "repro" / "retain_model" / "model", folder / "var" / "models" / "retain")
    put_on_the_hub(project, folder / "var" / "example" / "model")
    project.change_params(model={"base": "org/tiny", "retain": str(retain.relative_to(folder))}, data={"holdout": None})
    project.succeed("unilogit", "dvc")
    assert stages_run(project.succeed("dvc", "repro")) == [name for name in STAGES if name not in UNCHANGED]
    assert read_json(folder / "var" / "repro" / "parent.json")["model"] == "org/tiny"
    assert (
        "compared with the model before"
        in read_json(folder / "var" / "repro" / "retain_model" / "retain_model.json")["check"]
    )
    assert "loss_auc" not in numbers(project).get("membership_inference", {})
    assert stages_run(project.succeed("dvc", "repro")) == []
    os.utime(retain / "config.json")
    assert stages_run(project.succeed("dvc", "repro")) == []
    (retain / "config.json").write_text((retain / "config.json").read_text() + "\n")
    assert stages_run(project.succeed("dvc", "repro"))[0] == "retain_model"
