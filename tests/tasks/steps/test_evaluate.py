"""The step end to end on a tiny workspace: what it writes, what it never does twice, and its refusals."""

import json
import math
import shutil

import pandas as pd
import pytest

from tasks.workspace import pseudonyms
from tests.tasks.steps.measurable import ATTACKS, make, params, rows, run
from unilogit.errors import InputError
from unilogit.evaluation import evaluate
from unilogit.files import read_json, write_parquet
from unilogit.gates import judge


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make(folder)
    return folder


@pytest.fixture
def workspace(made, tmp_path):
    return shutil.copytree(made, tmp_path / "workspace")


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    """A home in which nothing was measured yet."""
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def scored(empty_home, monkeypatch):
    """The roles of the models that were really scored, each once for every part of the sets."""
    titles = []
    real = evaluate.measure_sets

    def counting(*args, progress, **kwargs):
        titles.append(progress.removeprefix("evaluate "))
        return real(*args, progress=None, **kwargs)

    monkeypatch.setattr(evaluate, "measure_sets", counting)
    return titles


PARTS = 4  # forget sets, retained and neighbours, world facts, holdout


def parts(*roles):
    return [role for role in roles for _ in range(PARTS)]


TOLD = ("unavailable", "incomplete", "worst")


def numbers(node):
    if isinstance(node, dict):
        return [number for key, value in node.items() if key not in TOLD for number in numbers(value)]
    return [node]


def test_metrics_of_all_models_and_sets(workspace, empty_home):
    summary = run(workspace)
    metrics = read_json(workspace / "evaluation" / "metrics.json")
    # This retain model is no yardstick: it was trained on the forget set, too.
    leaks = ["privleak", "before.privleak", "retain_model.privleak"]
    right = "retained.general_accuracy"  # a model that knows no English gives too few right answers
    assert set(metrics["unavailable"]) == {*leaks, right, "retain_model.robustness.quantised_4_bit_probability"}
    assert metrics["after"]["robustness"] == ATTACKS["after"]
    assert [number for number in numbers(metrics) if number is None or not math.isfinite(number)] == [None] * 5
    expected = {"forget": 6, "forget_all": 9, "retain": 8, "world_facts": 4, "neighbours": 2, "holdout": 5}
    for model in ("before", "after", "retain_model"):
        assert {name: metrics[model][name]["n"] for name in expected} == expected
        examples = pd.read_parquet(workspace / "evaluation" / "models" / f"{model}.parquet")
        assert examples["set"].value_counts().to_dict() == expected
        in_forget = examples[examples["set"] == "forget"]
        assert in_forget["probability"].mean() == pytest.approx(metrics[model]["forget"]["probability"])
        assert not examples["record_id"].str.startswith("steer").any()
    forgotten = pd.read_parquet(workspace / "data" / "forget.parquet").explode("subject_ids")
    after = pd.read_parquet(workspace / "evaluation" / "models" / "after.parquet").query("set == 'forget_all'")
    own = after.merge(forgotten[["record_id", "subject_ids"]]).groupby("subject_ids")["probability"].mean()
    assert metrics["worst"]["forget_all.probability"] == {
        "person": pseudonyms().subject(own.idxmax()),
        "value": pytest.approx(own.max()),
    }
    judged = [gate for gate in params().gates if gate.metric != "privleak"]
    assert all(verdict.value is not None for verdict in judge(judged, metrics).gates)
    assert summary.forget_probability[1] == metrics["after"]["forget"]["probability"]
    assert "forget probability" in str(summary)
    assert str(summary).count("generated tokens/s") == 3
    assert "secret" not in json.dumps(metrics) + str(summary)


def test_a_second_run_scores_nothing_and_changes_nothing(workspace, scored):
    assert "earlier" not in str(run(workspace))
    assert scored == parts("before", "after", "retain_model")
    first = (workspace / "evaluation" / "metrics.json").read_bytes()
    assert (
        str(run(workspace)).count("taken from an earlier measurement: forget and forget_all, world_facts, retain") == 3
    )
    assert scored == parts("before", "after", "retain_model")
    assert (workspace / "evaluation" / "metrics.json").read_bytes() == first


def test_only_what_changed_is_scored_again(workspace, scored):
    run(workspace)
    scored.clear()
    shutil.copy(workspace / "retain_model" / "model" / "model.safetensors", workspace / "model")
    run(workspace)
    assert scored == ["after"]  # beside the retain model, on the forget sets: the rest is that of these weights
    scored.clear()
    (workspace / "evaluation" / "models" / "before.parquet").write_bytes(b"torn")
    run(workspace)
    assert scored == []
    assert len(pd.read_parquet(workspace / "evaluation" / "models" / "before.parquet")) == 34
    run(workspace, "seed=1")
    assert scored == ["before", "after"]  # another sample of what is retained; after is the retain model now
    scored.clear()
    write_parquet(workspace / "data" / "holdout.parquet", pd.DataFrame(rows("unseen", 4, use="evaluate")))
    run(workspace, "seed=1")
    assert scored == ["before", "after"]


def test_a_killed_run_goes_on_with_the_sets_it_was_at(workspace, scored, monkeypatch):
    counting = evaluate.measure_sets

    def killed(*args, progress, **kwargs):
        if len(scored) == PARTS + 2:
            raise KeyboardInterrupt
        return counting(*args, progress=progress, **kwargs)

    monkeypatch.setattr(evaluate, "measure_sets", killed)
    with pytest.raises(KeyboardInterrupt):
        run(workspace)
    assert not (workspace / "evaluation" / "metrics.json").exists()
    monkeypatch.setattr(evaluate, "measure_sets", counting)
    run(workspace)
    assert scored == parts("before", "after", "retain_model")


def test_without_a_retain_model(workspace):
    run(workspace)
    assert (workspace / "evaluation" / "models" / "retain_model.parquet").exists()
    run(workspace, retain_model=False)
    metrics = read_json(workspace / "evaluation" / "metrics.json")
    assert metrics["retain_model"] is None
    assert metrics["after"]["forget_quality"]["ks_statistic"] is None
    assert metrics["unavailable"]["forget_quality.ks_statistic"] == "none"
    assert not (workspace / "evaluation" / "models" / "retain_model.parquet").exists()
    assert metrics["unavailable"]["privleak"] == "none"  # the reason that the step retain_model gave


@pytest.mark.slow
def test_other_methods_are_unlearned_and_measured_once(workspace, scored):
    few = ["unlearn.epochs=1", "unlearn.min_steps=1", "unlearn.batch_size=3"]
    for _ in range(2):
        run(workspace, *few, "evaluate.baselines=[grad_diff, npo]")
    assert scored == parts("before", "after", "retain_model", "baseline-grad_diff", "baseline-npo")
    table = pd.read_csv(workspace / "evaluation" / "models" / "baselines.csv", index_col="name")
    for method in ("grad_diff", "npo"):
        assert read_json(workspace / "baselines" / method / "training.json")["method"] == method
        examples = pd.read_parquet(workspace / "evaluation" / "models" / f"baseline-{method}.parquet")
        forget = examples[examples["set"] == "forget"]
        assert table.loc[method, "forget_probability"] == pytest.approx(forget["probability"].mean())
    assert table["forget_probability"].nunique() == 2
    run(workspace, *few)
    assert not (workspace / "evaluation" / "models" / "baselines.csv").exists()
    with pytest.raises(InputError, match=r"^evaluate\.baselines, dpo: .* alternative_response"):
        run(workspace, *few, "evaluate.baselines=[dpo]")


def test_the_sample_is_the_seeds_and_the_same_for_every_model(workspace):
    drawn = {}
    for seed in (0, 0, 1):
        run(workspace, f"seed={seed}")
        frames = [
            pd.read_parquet(workspace / "evaluation" / "models" / f"{m}.parquet") for m in ("before", "retain_model")
        ]
        chosen = [frame.loc[frame["set"] == "retain", "record_id"].tolist() for frame in frames]
        assert chosen[0] == chosen[1]
        assert drawn.setdefault(seed, chosen[0]) == chosen[0]
    assert drawn[0] != drawn[1]


def test_empty_holdout_and_empty_group_are_unavailable_not_ignored(workspace):
    columns = pd.read_parquet(workspace / "data" / "holdout.parquet").columns
    write_parquet(
        workspace / "data" / "holdout.parquet",
        pd.DataFrame({name: pd.Series(dtype="object") for name in columns}),
    )
    run(workspace, "data.utility_groups=[world_facts, poems]")
    metrics = read_json(workspace / "evaluation" / "metrics.json")
    assert metrics["after"]["membership_inference"]["loss_auc"] is None
    assert "data.holdout" in metrics["unavailable"]["membership_inference.loss_auc"]
    assert metrics["after"]["poems"]["probability"] is None
    assert "no records" in metrics["unavailable"]["poems.probability"]
    assert metrics["after"]["model_utility"] is not None


def test_refusals_come_before_any_work(workspace, scored):
    older = pd.DataFrame(rows("older", 3, batch="earlier"))
    write_parquet(workspace / "data" / "forget.parquet", older)
    with pytest.raises(InputError, match=r"forget\.parquet: nothing"):
        run(workspace)
    (workspace / "data" / "forget.parquet").unlink()
    with pytest.raises(InputError, match=r"tasks\.steps\.extract --workspace"):
        run(workspace)
    assert scored == []


def test_a_model_that_is_gone_is_named(workspace):
    shutil.rmtree(workspace / "before")
    with pytest.raises(InputError, match=r"before: no causal language model can be loaded"):
        run(workspace)


def test_what_is_printed_names_nobody(workspace):
    told = str(run(workspace))
    assert len(told.splitlines()) == 4  # what changed, and where the time went for each model
    assert "secret" not in told
    assert "What of" not in told
