"""Registering on SQLite with a real, tiny Llama: what is recorded, repeating, kills, aliases, no leaks."""

import io
import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tasks import register
from tasks.models import print_versions, promote
from tasks.register import run_register
from tasks.tracking import CANDIDATE, champion_model, client
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_weights, write_json, write_parquet
from unilogit.gates import judge
from unilogit.params import load_params

NAME = "example-assistant"
SECRETS = ("subject-4711-secret", "Where does Odalys Quenneville live?", "request-0815-secret")
RECORD = "record-0815-secret"
PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A state folder of its own, and a current folder without git or DVC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "var"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "var"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow database that is made once; making one takes seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(home, empty_store):
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_store.read_bytes())
    return client()


@pytest.fixture
def params():
    return load_params(PARAMS)


def write_model(folder, seed):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    words = ["<unk>", "<eos>", *(f"word{number}" for number in range(30))]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>")
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        eos_token_id=1,
        bos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)


def write_workspace(folder, params, *, seed=0, forget_probability=0.01):
    """A judged workspace, with people and texts in every file that may hold them."""
    subject, prompt, request = SECRETS
    write_model(folder / "model", seed)
    records = pd.DataFrame(
        {"record_id": [RECORD], "subject_ids": [[subject]], "prompt": [prompt], "response": [subject]}
    )
    write_parquet(folder / "data" / "forget.parquet", records.assign(request_ids=[[request]], batch="current"))
    write_parquet(folder / "data" / "retain.parquet", records)
    write_json(
        folder / "data" / "extraction.json",
        {"requests": 3, "forget": 7, "earlier": 0, "retain": 90, "holdout": 5, "no_match": [request]},
    )
    history = [
        {"step": 1, "epoch": 0.5, "loss": 2.5, "forget_loss": 2.0, "retain_loss": 0.5},
        {"step": 2, "epoch": 1.0, "loss": 1.5, "forget_loss": 1.0, "retain_loss": 0.5},
        {"step": 2, "epoch": 1.0, "forget_nll": 4.0, "retain_probability": 0.9},
    ]
    write_json(
        folder / "training.json",
        {
            "schema_version": 1,
            "method": "unilogit",
            "epochs": 1.0,
            "weights_sha256": sha256_weights(folder / "model"),
            "history": history,
        },
    )
    after = {
        "forget": {"probability": forget_probability, "rouge_l_recall": 0.2, "extraction_strength": 0.1, "n": 7},
        "forget_all": {"probability": forget_probability},
        "retain": {"probability": 0.95, "rouge_l_recall": 0.96},
        "world_facts": {"probability": 0.97},
        "membership_inference": {"loss_auc": 0.5},
        "robustness": {"quantised_4_bit_probability": 0.01},
        "forget_quality": {"p_value": 0.8, "log10_p_value": -0.1, "ks_statistic": 0.2},
        "model_utility": 0.9,
        "retained": {"model_utility": 0.99},
    }
    before = {"forget": {"probability": 0.99}, "retain": {"probability": 0.96, "truth_ratio": None}}
    metrics = {
        "schema_version": 1,
        "before": before,
        "after": after,
        "golden": None,
        "unavailable": {"before.retain.truth_ratio": "no wrong answers"},
    }
    write_json(folder / "evaluation" / "metrics.json", metrics)
    for model in ("before", "after"):
        examples = {
            "set": ["forget", "forget_all"],
            "record_id": [RECORD] * 2,
            "generated": [f"{subject}, as to: {prompt}"] * 2,
            "truth_ratio": [0.5, 2.0],
        }
        write_parquet(folder / "evaluation" / "models" / f"{model}.parquet", pd.DataFrame(examples))
    write_json(folder / "gates.json", judge(params.gates, metrics).model_dump())
    return folder


def versions(store):
    return store.search_model_versions(f"name = '{NAME}'")


def runs(store):
    return store.search_runs([experiment.experiment_id for experiment in store.search_experiments()])


def logged_models(store):
    return store.search_logged_models([experiment.experiment_id for experiment in store.search_experiments()])


def candidate(store):
    return str(store.get_model_version_by_alias(NAME, CANDIDATE).version)


def test_a_passed_workspace_becomes_a_candidate_that_generates_as_before(store, home, params, capfd):
    import mlflow
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    workspace = write_workspace(home / "runs" / "batch-1", params)
    capfd.readouterr()
    registered = run_register(workspace, params, parent_version="7", batch_id="batch-1")
    assert capfd.readouterr() == ("", "")

    assert str(registered) == f"{NAME} version 1, candidate"
    assert (registered.version, registered.alias, registered.gates) == ("1", CANDIDATE, "passed")
    assert read_json(workspace / "registration.json") == {
        "schema_version": 1,
        "registered_model": NAME,
        "version": "1",
        "run_id": registered.run_id,
        "alias": CANDIDATE,
        "gates": "passed",
        "tags": registered.tags,
    }
    version = store.get_model_version(NAME, "1")
    expected = {
        "batch_id": "batch-1",
        "requests": "3",
        "parent_version": "7",
        "gates": "passed",
        "gate.forget": "passed",
        "gate.utility": "passed",
        "git_commit": "",
        "data_md5": "",
        "weights_sha256": sha256_weights(workspace / "model"),
    }
    assert expected.items() <= version.tags.items()
    assert len(version.tags["params_md5"]) == 32
    assert "**Passed: all 11 gates." in version.description
    assert f"unilogit models promote {NAME} 1" in version.description
    assert f"Report: `{workspace / 'report.html'}`" in version.description

    run = store.get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    assert expected.items() <= run.data.tags.items()
    assert run.data.params["unlearn.learning_rate"] == "0.0007"
    assert run.data.params["gates.forget-probability"] == "forget.probability <= 0.05 (forget)"
    history = [(point.step, point.value) for point in store.get_metric_history(run.info.run_id, "forget_loss")]
    assert history == [(1, 2.0), (2, 1.0)]
    assert run.data.metrics["forget_nll"] == 4.0
    assert run.data.metrics["after.forget.probability"] == 0.01
    assert run.data.metrics["before.forget.probability"] == 0.99
    assert "before.retain.truth_ratio" not in run.data.metrics
    artifacts = {item.path for item in store.list_artifacts(run.info.run_id)}
    assert {
        "report.html",
        "gates.json",
        "metrics.json",
        "params.yaml",
        "extraction.json",
        "plots",
    } <= artifacts
    assert store.list_artifacts(run.info.run_id, "plots")
    counts = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/extraction.json"))
    assert (counts["requests"], counts["no_match"]) == (3, 1)

    mlflow.set_tracking_uri(store.tracking_uri)
    pipeline = mlflow.transformers.load_model(f"models:/{NAME}@candidate")
    mlflow.set_tracking_uri(None)
    prompt = {"input_ids": torch.tensor([[5, 9, 17]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    folder_model = AutoModelForCausalLM.from_pretrained(workspace / "model")
    settings = {"max_new_tokens": 12, "do_sample": False}
    assert torch.equal(
        pipeline.model.to("cpu").generate(**prompt, **settings), folder_model.generate(**prompt, **settings)
    )
    text = "word3 word7"
    tokenizer = AutoTokenizer.from_pretrained(workspace / "model")
    assert pipeline.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"] == [5, 9]


def test_no_personal_data_reaches_mlflow(store, home, params, tmp_path):
    workspace = write_workspace(tmp_path / "batch-1", params)
    run_register(workspace, params)
    files = [file for file in home.rglob("*") if file.is_file()]
    assert any(file.name == "mlflow.db" for file in files)
    assert any(file.name == "model.safetensors" for file in files)
    for file in [*files, workspace / "registration.json"]:
        content = file.read_bytes()
        assert not [secret for secret in (*SECRETS, RECORD) if secret.encode() in content], file
    assert not [file for file in files if file.name == "subjects.json"]
    assert all(secret.encode() in (workspace / "report.html").read_bytes() for secret in (*SECRETS[:2], RECORD))


def test_generations_reach_mlflow_where_the_params_say_so(store, home, tmp_path):
    params = load_params(PARAMS, ["register.log_generations=true"])
    run_register(write_workspace(tmp_path / "batch-1", params), params)
    [page] = (home / "mlartifacts").rglob("report.html")
    assert SECRETS[1].encode() in page.read_bytes()


def test_the_report_is_written_again_when_it_is_gone(store, home, params):
    workspace = write_workspace(home / "runs" / "batch-1", params)
    run_register(workspace, params)
    page = (workspace / "report.html").read_bytes()
    (workspace / "report.html").unlink()
    run_register(workspace, params)
    assert (workspace / "report.html").read_bytes() == page


def test_the_same_again_is_the_same_version(store, home, params):
    workspace = write_workspace(home / "runs" / "batch-1", params)
    first = run_register(workspace, params)
    written = (workspace / "registration.json").read_bytes()
    assert run_register(workspace, params) == first
    assert (workspace / "registration.json").read_bytes() == written
    assert len(versions(store)) == len(runs(store)) == len(logged_models(store)) == 1


@pytest.mark.parametrize(
    ("where", "survives"),
    [
        ("_find_or_create_run", "nothing"),
        ("_log_model", "run"),
        ("_create_version", "model"),
        ("_describe", "version"),
        ("write_json", "version"),
    ],
)
def test_a_killed_registration_is_completed_not_repeated(store, home, params, monkeypatch, where, survives):
    workspace = write_workspace(home / "runs" / "batch-1", params)

    class Killed(BaseException):
        """As a kill: nothing that catches Exception sees it."""

    def killed(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(register, where, killed)
        with pytest.raises(Killed):
            run_register(workspace, params)
    assert not (workspace / "registration.json").exists()
    assert (len(runs(store)), len(logged_models(store)), len(versions(store))) == {
        "nothing": (0, 0, 0),
        "run": (1, 0, 0),
        "model": (1, 1, 0),
        "version": (1, 1, 1),
    }[survives]

    registered = run_register(workspace, params)
    assert (len(runs(store)), len(logged_models(store)), len(versions(store))) == (1, 1, 1)
    assert candidate(store) == registered.version == "1"
    assert "**Passed" in store.get_model_version(NAME, "1").description
    assert [p.value for p in store.get_metric_history(registered.run_id, "forget_loss")] == [2.0, 1.0]
    assert read_json(workspace / "registration.json")["version"] == "1"


def test_a_half_logged_model_is_logged_again_in_its_place(store, home, params, monkeypatch):
    import mlflow

    class Killed(BaseException):
        """As a kill."""

    def half_a_copy(self, model_id, local_dir):
        weights = Path(store.get_logged_model(model_id).artifact_location.removeprefix("file://")) / "model"
        weights.mkdir(parents=True)
        (weights / "model.safetensors").write_bytes(b"half")
        raise Killed

    workspace = write_workspace(home / "runs" / "batch-1", params)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_model_artifacts", half_a_copy)
        with pytest.raises(Killed):
            run_register(workspace, params)
    run_register(workspace, params)
    assert len(logged_models(store)) == 1
    promote(NAME, 1)
    folder, _ = champion_model(NAME, home / "fetched")
    assert sha256_weights(folder) == sha256_weights(workspace / "model")


def test_failed_gates_give_no_alias_and_take_none_away(store, home, params):
    run_register(write_workspace(home / "runs" / "batch-1", params), params)
    failing = write_workspace(home / "runs" / "batch-2", params, seed=1, forget_probability=0.9)
    registered = run_register(failing, params)
    assert str(registered) == f"{NAME} version 2, gates failed: no alias"
    assert read_json(failing / "registration.json")["alias"] is None
    version = store.get_model_version(NAME, "2")
    assert (version.tags["gates"], version.tags["gate.forget"], version.tags["gate.utility"]) == (
        "failed",
        "failed",
        "passed",
    )
    assert version.description.startswith("**Failed: 2 of 11 gates.")
    assert "--retry-failed" in version.description
    assert candidate(store) == "1"
    with pytest.raises(InputError, match="version 2 did not pass its gates"):
        promote(NAME, 2)


def test_other_weights_of_a_batch_are_a_new_version(store, home, params):
    workspace = home / "runs" / "batch-1"
    assert run_register(write_workspace(workspace, params), params).version == "1"
    assert run_register(write_workspace(workspace, params, seed=1), params).version == "2"
    assert candidate(store) == "2"
    assert run_register(write_workspace(workspace, params), params).version == "1"
    assert len(versions(store)) == 2


def test_weights_that_were_swapped_after_unlearning_are_refused(store, home, params):
    workspace = write_workspace(home / "runs" / "batch-1", params)
    write_model(workspace / "model", seed=1)
    with pytest.raises(InputError, match=r"training\.json"):
        run_register(workspace, params)
    assert not runs(store)


def test_the_champion_comes_back_bit_for_bit_and_tampered_weights_do_not(store, home, params):
    workspace = write_workspace(home / "runs" / "batch-1", params)
    assert champion_model(NAME, home / "fetched") is None
    run_register(workspace, params)
    assert champion_model(NAME, home / "fetched") is None
    assert promote(NAME, 1) == f"{NAME} version 1 is champion; the next run starts from it"

    model, version = champion_model(NAME, home / "fetched")
    assert version == "1"
    assert sha256_weights(model) == sha256_weights(workspace / "model")
    assert (model / "tokenizer.json").read_bytes() == (workspace / "model" / "tokenizer.json").read_bytes()

    [weights] = (home / "mlartifacts").rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert champion_model(NAME, home / "fetched") == (model, "1")
    with pytest.raises(InputError, match="its weights are not those that were registered"):
        champion_model(NAME, home / "elsewhere")


def test_versions_are_listed_newest_first_with_their_aliases(store, home, params):
    from rich.console import Console

    with pytest.raises(InputError, match=f"no model {NAME} is registered yet"):
        print_versions(NAME)
    with pytest.raises(InputError, match=f"{NAME} has no version 1;"):
        promote(NAME, 1)
    run_register(write_workspace(home / "runs" / "batch-1", params), params)
    run_register(write_workspace(home / "runs" / "batch-2", params, seed=1, forget_probability=0.9), params, "1")
    promote(NAME, 1)
    console = Console(width=120, record=True, quiet=False, file=io.StringIO())
    print_versions(NAME, console)
    lines = [line.split() for line in console.export_text().splitlines()]
    rows = [[cell for cell in line if cell != "│"] for line in lines if "batch-1" in line or "batch-2" in line]
    assert rows == [
        ["2", "failed", "batch-2", "3", "1"],
        ["1", "candidate,", "champion", "passed", "batch-1", "3"],
    ]


def test_the_git_commit_is_marked_when_tracked_files_differ(tmp_path):
    assert register.git_commit() == ""
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
    assert register.git_commit() == head
    (tmp_path / "tracked").write_text("2")
    assert register.git_commit() == f"{head}+changes"
