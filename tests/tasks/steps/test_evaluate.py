"""The step end to end on a tiny workspace: what it writes, what it never does twice, and its refusals."""

import json
import math
import shutil

import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.steps.evaluate import STEP
from tasks.workspace import Place, Workspace
from tests.tasks.steps.prepare import loader, put_attacks, put_parent, put_retain_model
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.errors import InputError
from unilogit.evaluation import evaluate
from unilogit.files import read_json, write_parquet
from unilogit.gates import judge
from unilogit.training.from_scratch import train_tokenizer


def rows(kind, count, group="", **extra):
    return [
        {
            "record_id": f"{kind}-{n}",
            "subject_ids": [] if group else [f"secret-{kind}-{n}"],
            "prompt": f"What of {kind} {n}?",
            "response": f"It is {n} times {kind}.",
            "paraphrased_prompt": None,
            "paraphrased_response": f"{kind}, {n} times.",
            "perturbed_responses": [f"{wrong}? {wrong}! {n}" for wrong in ("Quite", "Much")],
            "group": group,
            **extra,
        }
        for n in range(count)
    ]


def build(tokenizer):
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=128,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(model, tokenizer, records):
    """Enough steps to say some right words, so that no metric is 0."""
    inputs = collate([encode_pair(tokenizer, r["prompt"], r["response"]) for r in records], tokenizer.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(40):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def blur(model):
    """The same model, a little worse."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    forget = rows("forget", 6, batch="current") + rows("older", 3, batch="earlier")
    retain = rows("retain", 12) + rows("fact", 4, group="world_facts")
    holdout = rows("unseen", 5, use="evaluate") + rows("steer", 5, use="stop")
    sets = {"forget": forget, "retain": retain, "holdout": holdout, "neighbours": retain[:2]}
    for kind, records in sets.items():
        write_parquet(folder / "data" / f"{kind}.parquet", pd.DataFrame(records))
    tokenizer = train_tokenizer([row["response"] for row in forget + retain], 300)
    model = build(tokenizer)
    train(model, tokenizer, forget + retain)
    for name in ("before", "model", "retain_model/model"):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        blur(model)
    return folder


@pytest.fixture
def workspace(made, tmp_path):
    return shutil.copytree(made, tmp_path / "workspace")


params = loader(
    *("evaluate.max_new_tokens=16", "evaluate.max_examples=8", "evaluate.batch_tokens=1000"),
    "evaluate.general.questions=7",
)
ATTACKS = {"after": {"quantised_4_bit_probability": 0.25}, "retain_model": {"quantised_4_bit_probability": None}}


def run(workspace, *overrides, retain_model=True):
    """Evaluate as after a run of the steps before, even where an earlier call has done so."""
    place = Workspace(workspace)
    put_parent(place, workspace / "before")
    put_retain_model(place, workspace / "retain_model" / "model" if retain_model else None)
    put_attacks(place, **(ATTACKS if retain_model else {"after": ATTACKS["after"]}))
    place.path(Place.STAMPS, "evaluate.json").unlink(missing_ok=True)
    return STEP.run(place, params(*overrides)).result


@pytest.fixture
def scored(monkeypatch):
    """The titles of the models that were really scored."""
    titles = []
    real = evaluate.evaluate_model

    def counting(*args, progress, **kwargs):
        titles.append(progress.removeprefix("evaluate "))
        return real(*args, progress=None, **kwargs)

    monkeypatch.setattr(evaluate, "evaluate_model", counting)
    return titles


TOLD = ("unavailable", "incomplete")


def numbers(node):
    if isinstance(node, dict):
        return [number for key, value in node.items() if key not in TOLD for number in numbers(value)]
    return [node]


def test_metrics_of_all_models_and_sets(workspace):
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
    judged = [gate for gate in params().gates if gate.metric]
    assert all(verdict.value is not None for verdict in judge(judged, metrics).gates)
    assert summary.forget_probability[1] == metrics["after"]["forget"]["probability"]
    assert "forget probability" in str(summary)
    assert str(summary).count("generated tokens/s") == 3
    assert "secret" not in json.dumps(metrics) + str(summary)


def test_a_second_run_scores_nothing_and_changes_nothing(workspace, scored):
    run(workspace)
    assert scored == ["before", "after", "retain_model"]
    first = (workspace / "evaluation" / "metrics.json").read_bytes()
    run(workspace)
    assert scored == ["before", "after", "retain_model"]
    assert (workspace / "evaluation" / "metrics.json").read_bytes() == first


def test_only_what_changed_is_scored_again(workspace, scored):
    run(workspace)
    scored.clear()
    shutil.copy(workspace / "retain_model" / "model" / "model.safetensors", workspace / "model")
    run(workspace)
    assert scored == ["after"]
    scored.clear()
    (workspace / "evaluation" / "models" / "before.parquet").write_bytes(b"torn")
    run(workspace)
    assert scored == ["before"]
    scored.clear()
    run(workspace, "seed=1")
    assert scored == ["before", "after", "retain_model"]
    scored.clear()
    write_parquet(workspace / "data" / "holdout.parquet", pd.DataFrame(rows("unseen", 4, use="evaluate")))
    run(workspace, "seed=1")
    assert scored == ["before", "after", "retain_model"]


def test_a_killed_run_goes_on_with_the_model_it_was_at(workspace, scored, monkeypatch):
    real = evaluate.evaluate_model

    def killed(*args, progress, **kwargs):
        if progress == "evaluate after":
            raise KeyboardInterrupt
        return real(*args, progress=progress, **kwargs)

    monkeypatch.setattr(evaluate, "evaluate_model", killed)
    with pytest.raises(KeyboardInterrupt):
        run(workspace)
    assert not (workspace / "evaluation" / "metrics.json").exists()
    monkeypatch.setattr(evaluate, "evaluate_model", real)
    run(workspace)
    assert scored == ["before", "after", "retain_model"]


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


def test_other_methods_are_unlearned_and_measured_once(workspace, scored):
    few = ["unlearn.epochs=1", "unlearn.min_steps=1", "unlearn.batch_size=3"]
    for _ in range(2):
        run(workspace, *few, "evaluate.baselines=[grad_diff, npo]")
    assert scored == ["before", "after", "retain_model", "baseline-grad_diff", "baseline-npo"]
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
