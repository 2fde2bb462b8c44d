"""`dvc repro` in a project of its own: the whole way as stages, and only what a change touches again."""

import csv
import re
import shutil

import pytest
import yaml

from tests.e2e.conftest import make_project
from tests.e2e.quick import QUICK
from unilogit.files import read_json, sha256_weights

STAGES = [
    *("example", "train", "intake", "validate", "extract", "parent", "familiarity", "retain_model", "targets"),
    *("unlearn", "attack", "evaluate", "gate", "register", "summary"),
]
IN_GIT = ["summary"]  # whose files are not in DVC's cache


def stages_run(printed):
    return re.findall(r"^Running stage '(\w+)'", printed, re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("repro"), with_code=True)
    project.succeed("git", "init", "--quiet")
    return project


def test_the_stages_make_a_graph_that_dvc_reads(project):
    assert project.succeed("dvc", "stage", "list", "--name-only").split() == STAGES
    assert '"gate" -> "summary"' in project.succeed("dvc", "dag", "--dot")


@pytest.fixture(scope="module")
def reproduced(project):
    project.change_params(
        model={"unfamiliar": "continue"},
        train={"epochs": 5},
        unlearn={"epochs": 2, "min_steps": 1, "target": "uniform"},  # so short a run goes a part of the way alone
        evaluate={
            "max_examples": 20,
            "robustness": QUICK["evaluate"]["robustness"],
            "general": QUICK["evaluate"]["general"],
        },
    )
    for gate in ("forgotten-once-relearned", "forgotten-in-other-words", "forgotten-in-other-forms"):
        project.drop_gate(gate)  # of attacks that are not made
    return project, project.succeed("dvc", "repro")


@pytest.mark.slow
def test_every_stage_runs_once_and_then_none(reproduced):
    project, printed = reproduced
    assert stages_run(printed) == STAGES
    again = project.succeed("dvc", "repro")
    assert stages_run(again) == []
    assert "up to date" in again


@pytest.mark.slow
def test_changing_a_threshold_runs_the_gate_alone(reproduced):
    project, _ = reproduced
    kept = shutil.copy(project.folder / "params.yaml", project.folder / "params.kept")
    project.change_gate("retain-probability", 0.901)
    assert stages_run(project.succeed("dvc", "repro")) == ["gate", "summary"]
    shutil.copy(kept, project.folder / "params.yaml")
    assert stages_run(project.succeed("dvc", "repro")) == IN_GIT


@pytest.mark.slow
def test_changing_the_learning_rate_runs_from_unlearning_on(reproduced):
    project, _ = reproduced
    kept = shutil.copy(project.folder / "params.yaml", project.folder / "params.kept")
    project.change_params(unlearn={"learning_rate": 1e-4})
    again = stages_run(project.succeed("dvc", "repro"))
    # The parent looks whether unlearning can go on from a version at this rate, and writes what it wrote before.
    assert again == ["parent", *STAGES[STAGES.index("unlearn") :]]
    shutil.copy(kept, project.folder / "params.yaml")
    assert stages_run(project.succeed("dvc", "repro")) == IN_GIT  # the earlier results are in the cache


@pytest.mark.slow
def test_flow_stages_and_single_commands_give_the_same_weights(reproduced):
    project, _ = reproduced
    weights = sha256_weights(project.folder / "var" / "repro" / "model")
    for step in ("intake", "validate", "extract", "parent", "familiarity", "retain_model", "targets", "unlearn"):
        project.succeed("python", "-m", f"tasks.steps.{step}", "--workspace", "var/alone")
    assert sha256_weights(project.folder / "var" / "alone" / "model") == weights
    code = project.run("unilogit", "run").returncode
    assert code == 1  # so few epochs pass no gates
    [workspace] = (project.folder / "var" / "runs").glob("2*")
    assert sha256_weights(workspace / "model") == weights


@pytest.mark.slow
def test_metrics_and_plots_are_dvcs(reproduced):
    project, _ = reproduced
    assert "forget.probability" in project.succeed("dvc", "metrics", "show", "--md")
    project.succeed("dvc", "plots", "show", "--out", "plots_page")
    page = (project.folder / "plots_page" / "index.html").read_text()
    assert "loss of unlearning" in page
    assert "forget_loss" in page


@pytest.mark.slow
def test_the_loss_curve_has_every_logged_step_and_falls(reproduced):
    folder = reproduced[0].folder / "var" / "repro"
    with open(folder / "loss.csv") as stream:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    steps = [row["step"] for row in rows]
    assert len(steps) >= 4
    assert steps == sorted(set(steps))
    assert steps[-1] == read_json(folder / "training.json")["steps"]
    assert rows[-1]["forget_loss"] < rows[0]["forget_loss"] / 2
    assert all(row["retain_loss"] > 0 for row in rows)


@pytest.mark.slow
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
