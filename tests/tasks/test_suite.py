"""A model on TOFU and MUSE, in small files of their formats: everything finite, and the retain model beside itself."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tasks import suite
from tasks.report import flatten
from tasks.suite import evaluate_on_suite, run_suite
from tests.data.suites import test_muse, test_tofu
from unilogit.data.suites.registry import read_suite
from unilogit.evaluation.registry import METRICS
from unilogit.training.from_scratch import train_tokenizer


def save_model(folder: Path, seed: int) -> str:
    texts = [text for row in test_tofu.tables()["full"] for text in row.values()]
    tokenizer = train_tokenizer(texts, 320)
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape, initializer_range=0.5)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return save_model(folder / "one", 0), save_model(folder / "other", 1)


@pytest.fixture(scope="module")
def tofu(tmp_path_factory):
    return test_tofu.write(tmp_path_factory.mktemp("tofu"), test_tofu.tables())


@pytest.fixture(scope="module")
def muse(tmp_path_factory):
    return test_muse.write(tmp_path_factory.mktemp("muse"), test_muse.PLAIN)


MUSE_METRICS = ("verbmem", "knowmem_forget", "knowmem_retain")
SMALL = {"batch_size": 8, "max_new_tokens": 4}


def test_tofu_beside_the_retain_model(models, tofu, tmp_path, capsys):
    run_suite(models[0], "tofu", tofu, "forget05", models[1], tmp_path / "out", max_examples=6, **SMALL)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["unavailable"] == {}
    values = {path: value for path, value in flatten(metrics["model"]).items() if not path.endswith(".n")}
    assert all(math.isfinite(value) for value in values.values())
    known = {path.split(".", 1)[-1] if path.split(".")[0] in tofu_sets(tofu) else path for path in values}
    assert known <= set(METRICS)
    assert all(0 <= values[path] <= 1 for path in values if path.endswith(("probability", "auc", "memorisation")))
    itself = metrics["retain_model"]
    assert itself["forget_quality"]["p_value"] == 1
    assert itself["privleak"] == 0
    assert itself["golden_divergence"] == {"kl_golden_to_model": 0, "kl_model_to_golden": 0}
    examples = pd.read_parquet(tmp_path / "out" / "model.parquet")
    assert examples["set"].value_counts().to_dict() == {
        "forget": 6, "retain": 6, "real_authors": 3, "world_facts": 4, "holdout": 5
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "forget.probability" in printed
    assert printed.count("generated tokens/s") == 2


def test_attacks_on_both_models(models, tofu, tmp_path):
    run_suite(models[0], "tofu", tofu, "forget05", models[1], tmp_path, robustness=True, max_examples=6, **SMALL)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    attacked = {f"robustness.{name}" for name in metrics["model"]["robustness"]}
    assert attacked == {name for name in METRICS if name.startswith("robustness.")}
    assert metrics["seconds"]["retain_model"]["attacks"] > 0
    for role in ("model", "retain_model"):
        weights = pd.read_parquet(tmp_path / f"{role}-quantisation.parquet")
        in_4_bits = weights[weights["bits"] == 4]["probability"].mean()
        assert metrics[role]["robustness"]["quantised_4_bit_probability"] == pytest.approx(in_4_bits)


def test_no_measurements_beside_the_examples_of_another_model(models, tofu, tmp_path, monkeypatch):
    run_suite(models[0], "tofu", tofu, None, None, tmp_path, max_examples=2, **SMALL)

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run_suite(models[1], "tofu", tofu, None, None, tmp_path, max_examples=2, **SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["model.parquet"]


def tofu_sets(folder):
    return read_suite("tofu", folder).sets


def test_without_a_retain_model_nothing_takes_its_place(models, tofu):
    metrics, _ = evaluate_on_suite(models[0], read_suite("tofu", tofu), max_examples=3, **SMALL)
    assert metrics["model"]["privleak"] is None
    assert metrics["model"]["forget_quality"]["p_value"] is None
    for path in ("privleak", "forget_quality.p_value", "membership_inference.reference_auc"):
        assert "--retain-model" in metrics["unavailable"][path]


def test_muse_has_its_own_metrics(models, muse):
    metrics, examples = evaluate_on_suite(models[0], read_suite("muse", muse), retain_model=models[1], **SMALL)
    assert set(metrics["model"]) == {*MUSE_METRICS, "membership_inference", "privleak"}
    assert all(0 <= metrics["model"][name] <= 1 for name in MUSE_METRICS)
    assert metrics["retain_model"]["privleak"] == 0
    assert len(examples["model"]) == 9
    assert list(metrics["seconds"]) == ["model", "retain_model"]
    alone, _ = evaluate_on_suite(models[0], read_suite("muse", muse), **SMALL)
    assert alone["model"]["privleak"] is None
    assert "--retain-model" in alone["unavailable"]["privleak"]


def test_a_model_without_numbers_has_no_leak_on_muse(models, muse, tmp_path):
    broken = LlamaForCausalLM.from_pretrained(models[0])
    broken.lm_head.weight.data[0] = math.nan
    broken.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(models[0]).save_pretrained(tmp_path)
    metrics, _ = evaluate_on_suite(str(tmp_path), read_suite("muse", muse), retain_model=models[1], **SMALL)
    assert metrics["model"]["privleak"] is None
    assert metrics["model"]["membership_inference"]["min_k_auc"] is None
    assert set(metrics["unavailable"]) == {"privleak", "membership_inference.min_k_auc"}
    assert metrics["retain_model"]["privleak"] == 0
