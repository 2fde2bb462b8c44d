"""Attacks of a run: curves for both models, the hardest point of each in the metrics, nothing measured twice."""

import pandas as pd
import pytest

from tasks import robustness
from tasks.robustness import run_robustness
from tests.tasks.test_suite import save_model
from unilogit.data.records import CorpusRecord
from unilogit.params import load_params

RECORDS = [
    CorpusRecord(
        record_id=f"a-{n}",
        prompt=f"What of a {n}?",
        response=f"It is a, number {n} of all.",
        paraphrased_prompt=f"Say a {n}." if n else None,
    )
    for n in range(6)
]


def params(*overrides):
    return load_params("params.yaml", ["evaluate.max_new_tokens=4", *overrides])


@pytest.fixture
def models(tmp_path):
    return {"after": save_model(tmp_path / "a", 0), "golden": save_model(tmp_path / "g", 1), "before": "never loaded"}


@pytest.fixture
def loaded(monkeypatch):
    names, load = [], robustness.load_model
    monkeypatch.setattr(robustness, "load_model", lambda name: names.append(name) or load(name))
    return names


def test_every_attack_has_its_curve_and_its_hardest_point(models, tmp_path, loaded):
    metrics = run_robustness(tmp_path, models, RECORDS, params())
    folder = tmp_path / "evaluation" / "robustness"
    curves = {file.stem: pd.read_csv(file) for file in folder.glob("*.csv")}
    assert set(curves) == {"relearning", "quantisation", "paraphrased_prompts", "prefix_attack", "sampling"}
    for curve in curves.values():
        assert list(curve.columns) == ["model", "x", "value"]
        assert set(curve["model"]) == {"after", "golden"}
        assert curve["value"].between(0, 1).all()
    by_record = pd.read_parquet(folder / "after-relearning.parquet")
    others = by_record[~by_record["relearned"] & (by_record["step"] == by_record["step"].max())]
    assert metrics["after"]["relearned_probability"] == pytest.approx(others["probability"].mean())
    by_record = pd.read_parquet(folder / "golden-quantisation.parquet")
    in_4_bits = by_record[by_record["bits"] == 4]["probability"].mean()
    assert metrics["golden"]["quantised_4_bit_probability"] == pytest.approx(in_4_bits)
    assert set(metrics["after"]) == {
        "relearned_probability",
        "quantised_8_bit_probability",
        "quantised_4_bit_probability",
        "paraphrased_probability",
        "paraphrased_rouge_l_recall",
        "prefix_attack_rouge_l_recall",
        "sampling_rouge_l_recall",
    }
    assert len(loaded) == 2
    files = {file: file.read_bytes() for file in folder.iterdir()}
    assert run_robustness(tmp_path, models, RECORDS, params()) == metrics
    assert {file: file.read_bytes() for file in folder.iterdir()} == files
    assert len(loaded) == 2  # kept, not measured again


def test_what_is_switched_off_leaves_nothing(models, tmp_path, loaded):
    run_robustness(tmp_path, models, RECORDS, params("evaluate.robustness.attacks=[quantisation]"))
    assert run_robustness(tmp_path, models, RECORDS, params("evaluate.robustness.attacks=[]")) == {}
    assert not list((tmp_path / "evaluation" / "robustness").glob("*.csv"))
    assert len(loaded) == 2


def test_at_most_so_many_records(models, tmp_path):
    run_robustness(
        tmp_path,
        models,
        RECORDS,
        params("evaluate.robustness.attacks=[quantisation]", "evaluate.robustness.max_examples=2"),
    )
    frame = pd.read_parquet(tmp_path / "evaluation" / "robustness" / "after-quantisation.parquet")
    assert frame["record_id"].unique().tolist() == ["a-0", "a-1"]
