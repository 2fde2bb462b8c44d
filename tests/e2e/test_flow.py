"""The whole way in one process: requests in, a gated and registered model out, batch after batch."""

import json
import shutil
import stat

import pandas as pd
import pytest

from tasks.params import load_params
from tasks.private import open_to_others
from tasks.registry.connection import client, connect
from tasks.steps import load_step
from tasks.steps.train import train_model
from tasks.workspace import Place, Workspace
from tests.e2e.conftest import GATED_ATTACKS
from tests.e2e.leaks import names_of_the_forgotten, texts_of_the_forgotten
from tests.tasks.steps.prepare import put_attacks, put_parent, put_retain_model
from unilogit.files import read_json, sha256_weights
from unilogit.ledger import Ledger

NAME = "example-assistant"


def state(project, home="var"):
    """The registry, and the state of every request."""
    folder = project.folder / home
    with Ledger(folder / "ledger.db") as ledger:
        ledger.verify_audit()
        requests = {row.request_id: str(row.state) for row in ledger.requests()}
    return client(f"sqlite:///{folder / 'mlflow.db'}"), requests


def workspaces(project, home="var"):
    return sorted(path for path in (project.folder / home / "runs").iterdir() if not path.name.startswith("."))


def test_the_demo_forgets_passes_its_gates_and_registers_a_candidate(demo):
    project, printed = demo
    [workspace] = workspaces(project)
    metrics, gates = read_json(workspace / "evaluation" / "metrics.json"), read_json(workspace / "gates.json")
    assert metrics["before"]["forget"]["probability"] > 0.95
    assert metrics["after"]["forget"]["probability"] < 0.05
    assert metrics["after"]["retain"]["probability"] > 0.9
    assert metrics["after"]["world_facts"]["probability"] > 0.9
    assert metrics["retain_model"]["forget"]["probability"] < 0.1
    assert gates["passed"]
    for shown in ("retain model", "world facts", "forget quality", "model utility", "unilogit models promote"):
        assert shown in printed
    assert all(gate["name"] in printed for gate in gates["gates"])

    store, requests = state(project)
    version = store.get_model_version_by_alias(NAME, "candidate")
    assert version.tags["gates"] == version.tags["gate.forget"] == version.tags["gate.utility"] == "passed"
    assert version.tags["batch_id"] == workspace.name
    assert version.tags["parent_version"] == ""
    assert version.tags["weights_sha256"] == sha256_weights(workspace / "model")
    assert version.tags["data_md5"] == (workspace / "data.dvc").read_text().split("md5: ")[1].split()[0]
    assert "**Passed: all" in version.description
    assert set(requests.values()) == {"awaiting_promotion", "watched"}


def test_every_file_of_a_run_is_its_owners_alone_whatever_the_umask_was(demo):
    home = demo[0].folder / "var"
    paths = [home, *home.rglob("*")]
    assert list(open_to_others(home)) == []
    modes = {(path.is_dir(), stat.S_IMODE(path.lstat().st_mode)) for path in paths if not path.is_symlink()}
    assert modes <= {(True, 0o700), (False, 0o600), (False, 0o400)}
    parts = {path.relative_to(home).parts[0] for path in paths[1:]}
    assert parts >= {"ledger.db", "runs", "intake", "mlflow.db", "mlartifacts", "dvc-remote", "retain_models"}
    assert len(paths) > 200


def test_the_candidate_loads_from_the_registry_and_has_forgotten(demo, monkeypatch):
    import mlflow

    project, _ = demo
    monkeypatch.setenv("UNILOGIT_HOME", str(project.folder / "var"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with connect():
        pipeline = mlflow.transformers.load_model(f"models:/{NAME}@candidate")
    forget = pd.read_parquet(workspaces(project)[0] / "data" / "forget.parquet")
    retain = pd.read_parquet(workspaces(project)[0] / "data" / "retain.parquet")

    def says(row):
        text = f"{pipeline.tokenizer.bos_token}{row.prompt}\n"
        [answer] = pipeline(text, max_new_tokens=40, do_sample=False, return_full_text=False, add_special_tokens=False)
        return answer["generated_text"] == row.response

    assert sum(says(row) for row in forget.itertuples()) <= 1
    assert sum(says(row) for row in retain.head(20).itertuples()) >= 18


def test_an_entry_of_the_tokenizer_is_part_of_a_word(demo):
    """The tokenizer was trained on the corpus before anybody asked to be forgotten, and unlearning leaves it as it is:
    an entry may be a name's first or last half, but none is a prompt, an answer or a whole name."""
    workspace = Workspace(workspaces(demo[0])[0])
    vocabulary = json.loads(workspace.path(Place.MODEL, "tokenizer.json").read_text())["model"]["vocab"]
    words = {token.replace("Ġ", " ").strip() for token in vocabulary}
    secrets = texts_of_the_forgotten(workspace) | names_of_the_forgotten(workspace)
    assert len(words) > 300
    assert not words & secrets
    assert not [word for word in words if " " in word]


def test_a_second_run_has_nothing_to_do(demo):
    project, _ = demo
    before = state(project)[1]
    assert "no deletion request is pending" in project.succeed("unilogit", "run")
    assert state(project)[1] == before
    assert len(workspaces(project)) == 1


# A model that forgot nothing passes these: they are about what unlearning leaves behind.
AGAINST_TRACES = {"not-over-forgotten", "privleak-most", "fluent-answers", "no-repetition", "answers-in-full"}
ONE_FORM = {"forgotten-in-other-forms"}  # and so small a model answers in the one that it was trained on
CHEAP = ("--set", f"evaluate.robustness.attacks={GATED_ATTACKS}", "--set", "evaluate.general.questions=20")


@pytest.mark.slow
def test_a_model_that_fails_its_gates_becomes_no_candidate(demo):
    project, _ = demo
    shutil.copytree(project.folder / "var" / "retain_models", project.folder / "untouched" / "retain_models")
    done = project.run("unilogit", "run", "--set", "unlearn.method=none", *CHEAP, home="untouched")
    assert done.returncode == 1, done.stderr
    assert "nothing became candidate" in done.stdout
    [workspace] = workspaces(project, "untouched")
    gates = read_json(workspace / "gates.json")["gates"]
    about_what_is_known = {gate["name"] for gate in gates if gate["scope"] != "utility"} - AGAINST_TRACES - ONE_FORM
    assert {gate["name"] for gate in gates if not gate["passed"]} == about_what_is_known
    store, requests = state(project, "untouched")
    assert store.get_registered_model(NAME).aliases == {}
    assert set(requests.values()) == {"failed", "watched"}
    assert "no deletion request is pending" in project.succeed("unilogit", "run", home="untouched")


@pytest.mark.slow
def test_a_retry_goes_on_from_the_version_that_fell_short(demo):
    project, _ = demo
    shutil.copytree(project.folder / "var" / "retain_models", project.folder / "short" / "retain_models")
    rate = load_params(project.folder / "params.yaml").unlearn.learning_rate
    short = ("--set", f"unlearn.learning_rate={rate / 10}", "--set", "unlearn.unmoved=continue", *CHEAP)
    done = project.run("unilogit", "run", *short, home="short")
    assert done.returncode == 1, done.stderr
    assert "model.start=1" in done.stdout
    further = ("--set", "model.start=1", "--set", "unlearn.min_steps=32", "--set", "unlearn.epochs=1", *CHEAP)
    done = project.run("unilogit", "run", "--retry-failed", *further, home="short")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (Workspace(folder) for folder in workspaces(project, "short"))
    assert sha256_weights(second.path(Place.START_FILES, "model")) == sha256_weights(first.path(Place.MODEL))
    metrics = [read_json(space.path(Place.METRICS)) for space in (first, second)]
    assert metrics[0]["before"]["forget"]["probability"] == metrics[1]["before"]["forget"]["probability"]
    store, requests = state(project, "short")
    version = store.get_model_version_by_alias(NAME, "candidate")
    assert (version.tags["start_version"], version.tags["parent_version"]) == ("1", "")
    assert set(requests.values()) == {"awaiting_promotion", "watched"}
    steps = [read_json(space.path(Place.TRAINING))["steps"] for space in (first, second)]
    assert steps[1] < 0.6 * steps[0]
    assert "bit for bit" in project.succeed("unilogit", "reproduce", "2", home="short")


@pytest.mark.slow
def test_a_retain_model_of_another_seed_passes_every_gate_on_forgetting(demo, tmp_path):
    batch, base = Workspace(workspaces(demo[0])[0]), demo[0].folder / "var" / "example" / "model"
    workspace = Workspace(tmp_path)
    shutil.copytree(batch.path(Place.DATA), workspace.path(Place.DATA))
    put_parent(workspace, base)
    put_retain_model(workspace, batch.path(Place.RETAIN_MODEL_FILES))
    params = load_params(demo[0].folder / "params.yaml", ["seed=1"])
    train_model(workspace.path(Place.RETAIN), workspace.path(Place.MODEL), params, str(base))
    assert sha256_weights(workspace.path(Place.MODEL)) != sha256_weights(batch.path(Place.RETAIN_MODEL_FILES))
    for name in ("attack", "evaluate", "gate"):
        load_step(name).run(workspace, params)
    gates = read_json(workspace.path(Place.GATES))["gates"]
    assert [gate["reason"] for gate in gates if gate["scope"] != "utility" and not gate["passed"]] == []


def test_gradient_ascent_at_a_high_rate_fails_the_utility_gates(demo, tmp_path):
    batch = Workspace(workspaces(demo[0])[0])
    workspace = Workspace(tmp_path)
    shutil.copytree(batch.path(Place.DATA), workspace.path(Place.DATA))
    put_parent(workspace, demo[0].folder / "var" / "example" / "model")
    put_retain_model(workspace, None)
    put_attacks(workspace)
    settings = [
        "unlearn.method=gradient_ascent",
        "unlearn.learning_rate=5e-3",
        "unlearn.epochs=5",
        "unlearn.min_steps=1",
    ]
    params = load_params(demo[0].folder / "params.yaml", settings)
    for name in ("targets", "unlearn", "evaluate", "gate"):
        load_step(name).run(workspace, params)
    verdicts = {gate["name"]: gate["passed"] for gate in read_json(workspace.path(Place.GATES))["gates"]}
    assert verdicts["forget-probability"]
    assert not any(verdicts[name] for name in ("retain-probability", "world-facts", "model-utility-retained"))
    assert not verdicts["forget-quality"]  # without a retain model it is not available


@pytest.mark.slow
def test_a_new_request_file_is_the_next_batch_and_starts_from_the_champion(demo):
    project, _ = demo
    first = read_json(workspaces(project)[0] / "registration.json")
    already = set(pd.read_parquet(workspaces(project)[0] / "data" / "forget.parquet")["record_id"])
    project.succeed("unilogit", "models", "promote", NAME, first["version"])
    corpus = pd.read_json(project.folder / "var" / "example" / "corpus.jsonl", lines=True)
    person = next(
        subjects[0]
        for record, subjects in zip(corpus["record_id"], corpus["subject_ids"], strict=True)
        if isinstance(subjects, list)
        and len(subjects) == 1
        and record not in already
        and not any(f"{subjects[0]}-" in name for name in already)
    )
    filed = project.succeed("unilogit", "requests", "add", "--subject", person)
    assert filed.endswith(": filed. Next: unilogit run\n")
    request_id = filed.partition(":")[0]
    done = project.run("unilogit", "run", *CHEAP)
    second = workspaces(project)[1]
    passed = read_json(second / "gates.json")["passed"]  # so small a batch may fail one
    assert done.returncode == (0 if passed else 1), done.stderr
    assert state(project)[1][request_id] == ("awaiting_promotion" if passed else "failed")
    forget = pd.read_parquet(second / "data" / "forget.parquet")
    assert set(forget.loc[forget["batch"] == "earlier", "record_id"]) == already
    assert all(person in subjects for subjects in forget.loc[forget["batch"] == "current", "subject_ids"])
    assert not already & set(pd.read_parquet(second / "data" / "retain.parquet")["record_id"])
    registration = read_json(second / "registration.json")
    assert registration["tags"]["parent_version"] == first["version"]
    assert sha256_weights(second / "parent" / "model") == first["tags"]["weights_sha256"]
    metrics = read_json(second / "evaluation" / "metrics.json")
    assert metrics["before"]["forget"]["probability"] > 0.9
    assert metrics["after"]["forget_all"]["probability"] < 0.05
