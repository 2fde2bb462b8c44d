"""`dvc repro` in a project of its own: the whole way as stages, and only what a change touches again."""

import csv
import re
import shutil

import pytest
import yaml

from tests.e2e.conftest import make_project

STAGES = ["example", "train", "intake", "validate", "extract", "golden", "unlearn", "evaluate", "gate", "register"]


def stages_run(printed):
    return re.findall(r"^Running stage '(\w+)'", printed, re.MULTILINE)


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("repro"), with_code=True)
    project.succeed("git", "init", "--quiet")
    project.change_params(train={"epochs": 5}, unlearn={"epochs": 2}, evaluate={"max_examples": 20})
    return project, project.succeed("dvc", "repro")


def test_every_stage_runs_once_and_then_none(reproduced):
    project, printed = reproduced
    assert stages_run(printed) == STAGES
    again = project.succeed("dvc", "repro")
    assert stages_run(again) == []
    assert "up to date" in again


def test_changing_a_threshold_runs_the_gate_alone(reproduced):
    project, _ = reproduced
    kept = shutil.copy(project.folder / "params.yaml", project.folder / "params.kept")
    project.change_gate("retain-probability", 0.901)
    assert stages_run(project.succeed("dvc", "repro")) == ["gate"]
    shutil.copy(kept, project.folder / "params.yaml")
    assert stages_run(project.succeed("dvc", "repro")) == []


def test_changing_the_learning_rate_runs_from_unlearning_on(reproduced):
    project, _ = reproduced
    kept = shutil.copy(project.folder / "params.yaml", project.folder / "params.kept")
    project.change_params(unlearn={"learning_rate": 1e-4})
    assert stages_run(project.succeed("dvc", "repro")) == ["unlearn", "evaluate", "gate", "register"]
    shutil.copy(kept, project.folder / "params.yaml")
    assert stages_run(project.succeed("dvc", "repro")) == []  # the earlier results are in the cache


def test_metrics_and_plots_are_dvcs(reproduced):
    project, _ = reproduced
    assert "after.forget.probability" in project.succeed("dvc", "metrics", "show", "--md")
    project.succeed("dvc", "plots", "show", "--out", "plots_page")
    page = (project.folder / "plots_page" / "index.html").read_text()
    assert "loss of unlearning" in page
    assert "forget_loss" in page
    with open(project.folder / "var" / "repro" / "loss.csv") as stream:
        assert all(float(row["forget_loss"]) >= 0 for row in csv.DictReader(stream))


def test_the_data_comes_back_from_the_remote_and_its_hash_is_on_the_version(reproduced):
    project, _ = reproduced
    project.succeed("dvc", "push")
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    [data] = [out for out in lock["stages"]["extract"]["outs"] if out["path"] == "var/repro/data"]
    assert data["md5"] in (project.folder / "var" / "repro" / "registration.json").read_text()
    forget = project.folder / "var" / "repro" / "data" / "forget.parquet"
    before = forget.read_bytes()
    shutil.rmtree(forget.parent)
    shutil.rmtree(project.folder / ".dvc" / "cache")
    project.succeed("dvc", "pull", "var/repro/data")
    assert forget.read_bytes() == before
