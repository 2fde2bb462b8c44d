"""The logged model: runs as before, says what it takes, and is ranked by what it is after it forgot."""

import mlflow
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.registry.artifacts import artifact_folder
from tasks.registry.connection import connect
from tasks.registry.logged_model import EXAMPLE
from tasks.registry.run import complete_run, find_or_create_run
from tasks.report.page import write_report
from tasks.report.review import read_review
from tasks.stamp import digest
from tasks.workspace import Place, Training
from tests.tasks.workspaces import HISTORY, build_registrable, forget_set
from unilogit.files import sha256_weights, write_parquet

TAGS = {"registration": "0815", "opening": "42", "batch_id": "batch-1"}
BEFORE = {"step": 0, "forget_nll": 0.01, "unseen_nll": 5.0}  # as if nothing was forgotten


@pytest.fixture
def workspace(store, home, params):
    return build_registrable(home / "runs" / "batch-1", params)


@pytest.fixture
def log(store, params):
    """Log a workspace; the run's id and the logged model's."""

    def log(workspace, **tags):
        write_report(workspace, read_review(workspace), params)
        with connect():
            run = find_or_create_run(store, "some experiment", TAGS | tags)
            return run.info.run_id, complete_run(store, run, workspace, params)

    return log


def test_the_logged_model_generates_as_before(store, workspace, log):
    _, model_id = log(workspace)
    with connect():
        pipeline = mlflow.transformers.load_model(f"models:/{model_id}")
    prompt = {"input_ids": torch.tensor([[5, 9, 17]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    settings = {"max_new_tokens": 12, "do_sample": False}
    before = AutoModelForCausalLM.from_pretrained(workspace.path(Place.MODEL))
    assert torch.equal(pipeline.model.to("cpu").generate(**prompt, **settings), before.generate(**prompt, **settings))
    tokenizer = AutoTokenizer.from_pretrained(workspace.path(Place.MODEL))
    text = "word3 word7"
    assert pipeline.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"] == [5, 9]


def test_a_half_logged_model_is_logged_again_in_its_place(store, workspace, log, monkeypatch):
    class Killed(BaseException):
        """As a kill."""

    def half_a_copy(self, model_id, local_dir):
        weights = artifact_folder(store.get_logged_model(model_id).artifact_location, store.tracking_uri) / "model"
        weights.mkdir(parents=True)
        (weights / "model.safetensors").write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_model_artifacts", half_a_copy)
        with pytest.raises(Killed):
            log(workspace)
    run_id, model_id = log(workspace)
    experiment = store.get_run(run_id).info.experiment_id
    assert [model.model_id for model in store.search_logged_models([experiment])] == [model_id]
    folder = artifact_folder(store.get_logged_model(model_id).artifact_location, store.tracking_uri)
    assert sha256_weights(folder / "model") == sha256_weights(workspace.path(Place.MODEL))


def test_it_says_what_it_takes_with_an_example_of_nobody(workspace, log):
    _, model_id = log(workspace)
    with connect():
        model = mlflow.pyfunc.load_model(f"models:/{model_id}")
    assert [column.type.name for column in model.metadata.signature.inputs] == ["string"]
    assert [column.type.name for column in model.metadata.signature.outputs] == ["string"]
    assert model.input_example == EXAMPLE
    forgotten = workspace.path(Place.FORGET).read_bytes()
    assert EXAMPLE.encode() not in forgotten
    [answer] = model.predict(EXAMPLE)
    assert isinstance(answer, str)


def test_its_metrics_are_the_last_ones_each_of_a_set(store, workspace, log):
    for place in (Place.RETAIN, Place.HOLDOUT):
        write_parquet(workspace.path(place), forget_set([[str(place)]]))
    training = workspace.read(Training)
    workspace.write(training.model_copy(update={"history": [BEFORE, *training.history]}))
    run_id, model_id = log(workspace)
    assert log(workspace) == (run_id, model_id)
    metrics = store.get_logged_model(model_id).metrics
    shown = {metric.key: (metric.value, metric.step, metric.dataset_name) for metric in metrics}
    assert len(metrics) == len(shown)
    assert shown["after.forget.probability"] == (0.01, 2, "forget")
    assert shown["after.retain.probability"] == (0.95, 2, "retain")
    assert shown["after.world_facts.probability"] == (0.97, 2, "retain")
    assert shown["after.membership_inference.loss_auc"] == (0.5, 2, "forget")
    assert shown["forget_nll"] == (4.0, 2, "forget")
    assert shown["retain_probability"] == (0.9, 2, "retain")
    assert shown["unseen_nll"][2] == "holdout"
    assert not [name for name in shown if name.startswith("before.")]
    forget = next(metric for metric in metrics if metric.key == "forget_nll")
    assert forget.dataset_digest == digest(workspace.path(Place.FORGET))[:32]
    history = [(point.step, point.value) for point in store.get_metric_history(run_id, "forget_nll")]
    assert history == [(0, 0.01), (2, 4.0)]


def test_versions_are_ranked_by_what_they_forgot(store, workspace, params, log, home):
    models = {}
    for number, probability in enumerate((0.03, 0.9, 0.01), start=1):
        other = build_registrable(home / "runs" / f"batch-{number}", params, number, forget_probability=probability)
        other.write(other.read(Training).model_copy(update={"history": [BEFORE, *HISTORY]}))
        models[log(other, registration=str(number), opening=str(number))[1]] = probability
    with connect():
        found = mlflow.search_logged_models(
            [store.get_experiment_by_name("some experiment").experiment_id],
            order_by=[{"field_name": "metrics.after.forget.probability", "ascending": True}],
            output_format="list",
        )
    assert [models[model.model_id] for model in found] == [0.01, 0.03, 0.9]


def test_the_sets_are_inputs_of_the_run_by_digest_and_count(store, workspace, log):
    run_id, model_id = log(workspace)
    run = store.get_run(run_id)
    [forget] = [item for item in run.inputs.dataset_inputs if item.dataset.name == "forget"]
    assert forget.dataset.digest == digest(workspace.path(Place.FORGET))[:32]
    assert forget.dataset.profile == '{"num_rows": 2}'
    assert forget.dataset.source == '{"path": "data/forget.parquet"}'
    assert [(tag.key, tag.value) for tag in forget.tags] == [("mlflow.data.context", "training")]
    assert [output.model_id for output in run.outputs.model_outputs] == [model_id]
