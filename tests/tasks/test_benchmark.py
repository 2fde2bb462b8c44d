"""`unilogit evaluate` on small files of TOFU's format: what it prints and writes, and what it refuses."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks import benchmark
from tasks.benchmark import run_suite
from tests.evaluation.benchmarks import test_tofu
from unilogit.errors import InputError
from unilogit.training.from_scratch import train_tokenizer

SMALL = {"batch_tokens": 320, "max_new_tokens": 4}


def save_model(folder: Path, seed: int, vocabulary: int = 320) -> str:
    texts = [text for row in test_tofu.tables()["full"] for text in row.values()]
    tokenizer = train_tokenizer(texts, vocabulary)
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


def test_all_is_printed_and_written(models, tofu, tmp_path, capsys):
    folder = tmp_path / "out"
    run_suite(models[0], "tofu", tofu, "forget05", models[1], folder, robustness=True, max_examples=4, **SMALL)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["unavailable"] == {}
    assert (metrics["suite"], metrics["names"]) == ("tofu", list(models))
    assert sorted(file.stem for file in folder.glob("*.parquet")) == metrics["examples"]
    assert {"model", "retain_model", "model-relearning", "retain_model-relearning"} <= set(metrics["examples"])
    assert pd.read_parquet(folder / "model.parquet")["set"].value_counts()["forget"] == 4
    printed = capsys.readouterr().out
    assert "forget.probability" in printed
    assert "robustness.relearned_probability" in printed
    assert printed.count("generated tokens/s") == 2


def test_what_a_number_leaves_out_is_printed_and_written(models, tmp_path, capsys):
    answers = ["In Linz.", "😀", "В Линце."]
    records = [
        {"record_id": f"r{place}", "subject_ids": ["p"], "prompt": "Where?", "response": answer}
        for place, answer in enumerate(answers)
    ]
    (tmp_path / "forget.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "retain.jsonl").write_text(json.dumps(records[1] | {"record_id": "kept"}))
    run_suite(models[0], "corpora", tmp_path, None, None, tmp_path / "out", **SMALL)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(metrics["incomplete"]) == {"forget.rouge_l_recall", "model_utility"}
    assert metrics["model"]["retain"]["rouge_l_recall"] is None
    printed = " ".join(capsys.readouterr().out.split())
    assert "forget.rouge_l_recall: 1 of 3 records are left out" in printed
    assert "retain.rouge_l_recall: no record has an answer with a word to compare" in printed


def test_no_measurements_beside_the_examples_of_another_model(models, tofu, tmp_path, monkeypatch, capsys):
    run_suite(models[0], "tofu", tofu, None, None, tmp_path, max_examples=2, **SMALL)
    assert "--retain-model" in capsys.readouterr().out

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run_suite(models[1], "tofu", tofu, None, None, tmp_path, max_examples=2, **SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["model.parquet"]


def test_a_retain_model_of_another_tokenizer_is_refused(models, tofu, tmp_path):
    stranger = save_model(tmp_path, 2, vocabulary=321)
    with pytest.raises(InputError, match="its tokenizer is not that of"):
        run_suite(models[0], "tofu", tofu, None, stranger, None, **SMALL)
