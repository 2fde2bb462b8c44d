"""A workspace as one MLflow run: all that was set, measured and made, nobody's data, a model that runs as before."""

import json
import subprocess

import pytest
import yaml

from tasks.params import load_params
from tasks.registry.artifacts import artifact_folder
from tasks.registry.connection import connect
from tasks.registry.run import KILLS, complete_run, end_run, find_or_create_run, git_commit, open_run, opening_tags
from tasks.report.page import write_report
from tasks.report.review import read_review
from tasks.workspace import Metrics, Place, Training
from tests.tasks.conftest import PARAMS
from tests.tasks.workspaces import PERSONAL, build_registrable, gate
from unilogit.files import read_json

TAGS = {"registration": "0815", "opening": "42", "batch_id": "batch-1", "gates": "passed"}


@pytest.fixture
def workspace(home, params):
    return build_registrable(home / "runs" / "batch-1", params)


@pytest.fixture
def log(store):
    """Log a workspace; the run's id and the logged model's."""

    def log(workspace, params):
        write_report(workspace, read_review(workspace), params)
        with connect():
            run = find_or_create_run(store, "some experiment", TAGS)
            return run.info.run_id, complete_run(store, run, workspace, params)

    return log


def test_a_run_is_found_again_by_its_registration(store):
    run = find_or_create_run(store, "some experiment", TAGS)
    assert (run.info.run_name, run.data.tags["gates"]) == ("batch-1", "passed")
    assert find_or_create_run(store, "some experiment", TAGS).info.run_id == run.info.run_id
    assert find_or_create_run(store, "some experiment", {**TAGS, "registration": "4711"}).info.run_id != run.info.run_id
    assert find_or_create_run(store, "another experiment", TAGS).info.run_id != run.info.run_id


def test_a_run_that_was_opened_with_the_batch_is_the_one_that_is_registered(store, home, params):
    opened = open_run(store, "batch-1", params)
    assert opened.info.run_name == "batch-1"
    logged = store.get_run(opened.info.run_id)
    assert (logged.info.status, logged.data.params["unlearn.method"]) == ("RUNNING", "unilogit")
    tags = {**opening_tags("batch-1", params), "registration": "0815", "gates": "passed"}
    registered = find_or_create_run(store, params.register_.experiment, tags)
    assert registered.info.run_id == opened.info.run_id
    assert store.get_run(opened.info.run_id).data.tags["gates"] == "passed"
    again = find_or_create_run(store, params.register_.experiment, {**tags, "registration": "other weights"})
    assert again.info.run_id != opened.info.run_id


def test_a_batch_that_is_taken_up_again_goes_on_with_its_run(store, home, params):
    first = open_run(store, "batch-1", params).info.run_id
    for kills in (1, 2):
        assert open_run(store, "batch-1", params).info.run_id == first
        assert store.get_run(first).data.tags[KILLS] == str(kills)
    end_run(store, first, "FAILED")
    assert store.get_run(first).info.status == "FAILED"
    assert open_run(store, "batch-1", params).info.run_id == first
    run = store.get_run(first)
    assert (run.info.status, run.data.tags[KILLS]) == ("RUNNING", "2")
    assert open_run(store, "batch-2", params).info.run_id != first


def test_a_run_that_a_kill_left_running_is_marked_when_another_is_opened(store, home, params):
    for batch in ("batch-1", "batch-2"):
        (home / "runs" / batch).mkdir(parents=True)
    first = open_run(store, "batch-1", params).info.run_id
    of_another_home = open_run(store, "batch-of-another-home", params).info.run_id
    assert store.get_run(first).info.status == "KILLED"
    changed = load_params(PARAMS, ["unlearn.epochs=3"])
    second = open_run(store, "batch-1", changed).info.run_id
    third = open_run(store, "batch-2", params).info.run_id
    states = [store.get_run(run).info.status for run in (first, second, third, of_another_home)]
    assert states == ["KILLED", "KILLED", "RUNNING", "RUNNING"]


def test_a_run_that_ended_well_is_not_ended_twice(store, home, params):
    run = open_run(store, "batch-1", params).info.run_id
    store.set_terminated(run, "FINISHED", end_time=4711)
    end_run(store, run, "FINISHED")
    assert store.get_run(run).info.end_time == 4711
    end_run(store, run, "FAILED")
    assert store.get_run(run).info.status == "FAILED"


def test_settings_measurements_and_files_are_logged(store, workspace, params, log):
    run_id, _ = log(workspace, params)
    run = store.get_run(run_id)
    assert run.info.status == "FINISHED"
    written = yaml.safe_load(PARAMS.read_text())
    assert run.data.params["unlearn.learning_rate"] == str(written["unlearn"]["learning_rate"])
    demanded = "forget.probability <= the retain model's + 0.02, or 0.05 without one (forget)"
    assert run.data.params["gates.forget-probability"] == demanded
    points = {name: [(p.step, p.value) for p in store.get_metric_history(run_id, name)] for name in run.data.metrics}
    assert points["forget_loss"] == [(1, 2.0), (2, 1.0)]
    assert points["unseen_nll"] == [(2, 5.0)]
    assert points["after.forget.probability"] == [(2, 0.01)]
    assert points["before.forget.probability"] == [(0, 0.99)]
    assert points["after.model_utility"] == [(2, 0.9)]
    assert not {"before.retain.truth_ratio", "step", "epoch"} & set(points)
    folder = artifact_folder(run.info.artifact_uri, store.tracking_uri)
    assert (folder / "report.html").read_bytes() == workspace.path(Place.LOGGED_REPORT).read_bytes()
    assert read_json(folder / "gates.json") == read_json(workspace.path(Place.GATES))
    assert read_json(folder / "metrics.json") == read_json(workspace.path(Place.METRICS))
    assert yaml.safe_load((folder / "params.yaml").read_text()) == params.as_dict()
    counts = json.loads((folder / "extraction.json").read_text())
    assert (counts["requests"], counts["not_found"], counts["warnings"]) == (12, 1, 1)
    drawn = workspace.path(Place.PLOTS).iterdir()
    assert {file.name for file in (folder / "plots").iterdir()} == {file.name for file in drawn} != set()


def test_more_settings_and_points_than_the_server_takes_at_once(store, workspace, params, log):
    gates = [gate(f"gate number {place}", threshold=1.0) for place in range(150)]
    history = [{"step": step, "forget_loss": step / 7} for step in range(1, 2101)]
    workspace.write(workspace.read(Training).model_copy(update={"history": history}))
    run_id, _ = log(workspace, params.model_copy(update={"gates": gates}))
    logged = store.get_run(run_id).data.params
    assert sum(name.startswith("gates.gate number ") for name in logged) == 150
    points = store.get_metric_history(run_id, "forget_loss")
    assert [(point.step, point.value) for point in points] == [(step, step / 7) for step in range(1, 2101)]


def test_names_and_values_that_mlflow_would_not_take(store, workspace, params, log):
    gates = [gate(name, threshold=threshold) for threshold, name in enumerate(("p<ä", "p>ä", "p/ä", "x" * 300))]
    sections = {**workspace.read(Metrics).after, "a<b": {"probability": 0.25}, "a>b": {"probability": 0.75}}
    workspace.write(workspace.read(Metrics).model_copy(update={"after": sections}))
    groups = params.data.model_copy(update={"utility_groups": ["group" * 2000]})
    run_id, _ = log(workspace, params.model_copy(update={"gates": gates, "data": groups}))
    data = store.get_run(run_id).data
    demands = {name: value for name, value in data.params.items() if name.startswith("gates.")}
    assert sorted(demands.values()) == [f"forget.probability <= {place} (forget)" for place in range(4)]
    assert all("ä" in name or "xxx" in name for name in demands)
    assert data.params["data.utility_groups"].startswith("['groupgroup")
    odd = [value for name, value in data.metrics.items() if name.startswith("after.a")]
    assert sorted(odd) == [0.25, 0.75]


def test_logging_again_changes_nothing(store, workspace, params, log):
    def logged():
        run = store.get_run(first[0])
        history = [list(store.get_metric_history(first[0], name)) for name in sorted(run.data.metrics)]
        points = [(p.key, p.value, p.step, p.timestamp) for points in history for p in points]
        return run.data.to_dictionary(), points, sorted(item.path for item in store.list_artifacts(first[0]))

    first = log(workspace, params)
    before = logged()
    assert log(workspace, params) == first
    assert logged() == before


def test_no_personal_data_reaches_mlflow(store, params, log, home, tmp_path):
    workspace = build_registrable(tmp_path / "batch-1", params)
    log(workspace, params)
    files = [file for file in home.rglob("*") if file.is_file()]
    assert {"mlflow.db", "model.safetensors", "report.html", "extraction.json"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        assert not [part for part in PERSONAL if part.encode() in content], file
    kept = b"".join(workspace.path(place).read_bytes() for place in (Place.REPORT, Place.PSEUDONYMS, Place.EXTRACTION))
    assert all(part.encode() in kept for part in PERSONAL)


def test_generations_reach_mlflow_where_the_params_say_so(store, workspace, log, home):
    log(workspace, load_params(PARAMS, ["register.log_generations=true"]))
    [page] = (home / "mlartifacts").rglob("report.html")
    assert "after says Odalys 1" in page.read_text()


def test_the_git_commit_is_marked_when_tracked_files_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert git_commit() == ""
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    (tmp_path / "tracked").write_text("1")
    for command in (
        ["init", "-q"],
        ["add", "tracked"],
        [*identity, "commit", "-q", "-m", "c"],
        ["tag", "v1"],
    ):
        subprocess.run(["git", *command], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert git_commit() == head
    (tmp_path / "tracked").write_text("2")
    assert git_commit() == f"{head}+changes"
