"""Registering on SQLite with a real, tiny Llama: one version of one workspace, whatever happens meanwhile."""

import json
import shutil
from importlib.metadata import version as version_of

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus

from tasks.registry.versions import CANDIDATE
from tasks.steps.register import STEP, run_register
from tasks.workspace import Place, Registration
from tests.tasks.workspaces import PERSONAL, build_registrable, gate, save_model
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_weights

NAME = "example-assistant"
WRITES = (  # what a registration does to MLflow, in this order
    *("create_run", "log_inputs", "log_batch", "log_artifact", "log_dict"),
    *("create_logged_model", "log_model_artifacts"),
    *("finalize_logged_model", "log_outputs", "set_terminated", "create_registered_model", "create_model_version"),
    *("set_logged_model_tags", "update_model_version", "set_registered_model_alias"),
)


@pytest.fixture
def workspace(store, home, params):
    return build_registrable(home / "runs" / "batch-1", params, parent="7")


def experiments(store):
    return [experiment.experiment_id for experiment in store.search_experiments()]


def count(store):
    """(runs, logged models, versions)."""
    runs, models = store.search_runs(experiments(store)), store.search_logged_models(experiments(store))
    return len(runs), len(models), len(store.search_model_versions(f"name = '{NAME}'"))


def candidate(store):
    return str(store.get_model_version_by_alias(NAME, CANDIDATE).version)


def assert_whole(store, workspace, registration):
    """The one version of a passed workspace, its run and what the workspace says of them."""
    assert count(store) == (1, 1, 1)
    assert workspace.read(Registration) == registration
    assert str(registration) == f"{NAME} version 1, candidate"
    assert (registration.version, registration.alias, registration.gates) == ("1", CANDIDATE, "passed")
    version = store.get_model_version(NAME, "1")
    expected = {
        "batch_id": "batch-1",
        "requests": "12",
        "parent_version": "7",
        "gates": "passed",
        "gate.forget": "passed",
        "gate.utility": "passed",
        "git_commit": "",
        "unilogit_version": version_of("unilogit"),
        "data_md5": "",
        "weights_sha256": sha256_weights(workspace.path(Place.MODEL)),
    }
    assert expected.items() <= version.tags.items()
    assert len(version.tags["params_md5"]) == 32
    assert version.tags == registration.tags
    assert candidate(store) == "1"
    for part in (
        "**Passed: all 22 gates.",
        f"unilogit models promote {NAME} 1",
        f"[Run](#/experiments/1/runs/{registration.run_id})",
        f"[Report](#/experiments/1/runs/{registration.run_id}/artifacts/report.html)",
        f"[Model](#/experiments/1/models/{version.source.removeprefix('models:/')})",
        "report where it was made: UNILOGIT_HOME/runs/batch-1/report.html",
        "- parent model: version 7\n- retain model: trained on 90 records\n- method: unilogit\n- optimiser steps: 2\n",
        "- data: not under DVC\n",
    ):
        assert part in version.description
    run = store.get_run(registration.run_id)
    assert run.info.status == "FINISHED"
    assert expected.items() <= run.data.tags.items()
    history = store.get_metric_history(registration.run_id, "forget_loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0)]
    artifacts = {item.path for item in store.list_artifacts(registration.run_id)}
    assert artifacts == {"report.html", "gates.json", "metrics.json", "params.yaml", "extraction.json", "plots"}
    [model] = store.search_logged_models(experiments(store))
    assert (model.status, f"models:/{model.model_id}") == (LoggedModelStatus.READY, version.source)
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": NAME, "version": "1"}]


def test_a_passed_workspace_becomes_a_candidate_and_the_same_again_is_the_same(store, workspace, params, capfd):
    capfd.readouterr()
    registration = run_register(workspace, params)
    assert capfd.readouterr() == ("", "")
    assert_whole(store, workspace, registration)
    content = workspace.path(Place.REGISTRATION).read_bytes()
    assert not [part for part in PERSONAL if part.encode() in content]
    page = workspace.path(Place.REPORT).read_bytes()
    workspace.path(Place.REPORT).unlink()
    workspace.path(Place.REGISTRATION).unlink()
    assert run_register(workspace, params) == registration
    assert workspace.path(Place.REGISTRATION).read_bytes() == content
    assert workspace.path(Place.REPORT).read_bytes() == page
    assert_whole(store, workspace, registration)


def test_a_registration_that_is_killed_after_each_of_its_writes_is_completed_not_repeated(
    store, workspace, params, monkeypatch
):
    class Killed(BaseException):
        """As a kill: nothing that catches Exception sees it."""

    def killing(write):
        def write_and_die(*args, **kwargs):
            write(*args, **kwargs)
            raise Killed

        return write_and_die

    shutil.rmtree(workspace.path(Place.MEASURED))  # fewer pictures to draw every time
    for name in WRITES:
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, name, killing(getattr(mlflow.MlflowClient, name)))
            with pytest.raises(Killed):
                run_register(workspace, params)
        assert not workspace.has(Place.REGISTRATION)
        runs, models, versions = count(store)
        assert runs == (WRITES.index(name) >= WRITES.index("create_run"))
        assert models <= 1
        assert versions == (WRITES.index(name) >= WRITES.index("create_model_version"))
    assert_whole(store, workspace, run_register(workspace, params))


def test_failed_gates_give_no_alias_and_take_none_away(store, home, workspace, params):
    run_register(workspace, params)
    failing = build_registrable(home / "runs" / "batch-2", params, seed=1, forget_probability=0.9)
    registration = run_register(failing, params)
    assert str(registration) == f"{NAME} version 2, gates failed: no alias"
    assert read_json(failing.path(Place.REGISTRATION))["alias"] is None
    version = store.get_model_version(NAME, "2")
    assert (version.tags["gates"], version.tags["gate.forget"], version.tags["gate.utility"]) == (
        *("failed", "failed", "passed"),
    )
    assert version.tags["parent_version"] == ""
    assert version.description.startswith("**Failed: 2 of 22 gates.")
    assert "--retry-failed" in version.description
    assert candidate(store) == "1"


def test_a_scope_without_a_gate_did_not_pass(store, home, params):
    few = params.model_copy(update={"gates": [gate()]})
    workspace = build_registrable(home / "runs" / "batch-1", few)
    version = store.get_model_version(NAME, run_register(workspace, few).version)
    tags = [version.tags[tag] for tag in ("gates", "gate.forget", "gate.utility")]
    assert tags == ["passed", "passed", "none"]


def test_other_weights_of_a_batch_are_a_new_version(store, home, params):
    root = home / "runs" / "batch-1"
    assert run_register(build_registrable(root, params), params).version == "1"
    assert run_register(build_registrable(root, params, seed=1), params).version == "2"
    assert candidate(store) == "2"
    again = run_register(build_registrable(root, params), params)
    assert (again.version, again.alias, str(again)) == ("1", None, f"{NAME} version 1, gates passed: no alias")
    assert candidate(store) == "2"  # it only moves forward
    assert count(store) == (2, 2, 2)


def test_what_is_no_batchs_is_an_experiment_without_alias(store, workspace, home, params, tmp_path):
    run_register(workspace, params)
    for folder in (tmp_path / "repro", home / "experiment"):
        registration = run_register(build_registrable(folder, params, seed=1), params)
        assert (registration.registered_model, registration.alias) == (f"{NAME}-experiments", None)
        version = store.get_model_version(f"{NAME}-experiments", registration.version)
        assert "this is an experiment, which answers no request and is never promoted" in version.description
    assert store.get_registered_model(f"{NAME}-experiments").aliases == {}
    assert (list(store.get_registered_model(NAME).aliases), candidate(store)) == ([CANDIDATE], "1")
    assert count(store)[2] == 1


def test_the_same_weights_of_another_batch_are_a_new_version(store, home, workspace, params):
    run_register(workspace, params)
    second = build_registrable(home / "runs" / "batch-2", params)
    assert run_register(second, params).version == "2"
    assert store.get_model_version(NAME, "2").tags["batch_id"] == "batch-2"


def test_weights_that_were_swapped_after_unlearning_are_refused(store, workspace, params):
    save_model(workspace.path(Place.MODEL), seed=1)
    with pytest.raises(InputError, match=r"its weights are not those that training\.json names; run `python -m tasks"):
        run_register(workspace, params)
    assert count(store) == (0, 0, 0)


def test_every_place_that_the_step_declares_is_written(store, workspace, params):
    run_register(workspace, params)
    assert all(workspace.has(place) for place in STEP.writes)
