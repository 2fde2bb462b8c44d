"""Attacks of a run: curves for both models, the hardest point of each in the metrics, nothing measured twice."""

import pandas as pd
import pytest

from tasks.steps.attack import STEP
from tasks.workspace import AttackMetrics, Place, Workspace
from tests.tasks.steps.prepare import loader, put_retain_model
from tests.tiny import save_model
from unilogit import model
from unilogit.data.records import CorpusRecord
from unilogit.evaluation.attacks.measure import ATTACKS
from unilogit.files import write_parquet

RECORDS = [
    CorpusRecord(
        record_id=f"a-{n}",
        subject_ids=["a"],
        prompt=f"What of a {n}?",
        response=f"It is a, number {n} of all.",
        paraphrased_prompt=f"Say a {n}." if n else None,
    )
    for n in range(6)
]


params = loader("evaluate.max_new_tokens=4")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    place = Workspace(tmp_path / "w")
    rows = [{**record.model_dump(), "batch": "current"} for record in RECORDS]
    write_parquet(place.path(Place.FORGET), pd.DataFrame([*rows, {**rows[0], "record_id": "old", "batch": "earlier"}]))
    save_model(place.path(Place.MODEL), 0)
    save_model(place.path(Place.RETAIN_MODEL_FILES), 1)
    put_retain_model(place, place.path(Place.RETAIN_MODEL_FILES))
    return place


@pytest.fixture
def loaded(monkeypatch):
    names, load = [], model.load_model
    monkeypatch.setattr(model, "load_model", lambda name: names.append(name) or load(name))
    return names


def attack(workspace, *overrides):
    return STEP.run(workspace, params(*overrides)).result.metrics


def written(workspace):
    folder = workspace.path(Place.ATTACKS)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_every_attack_has_its_curve_and_its_hardest_point(workspace, loaded):
    metrics = attack(workspace)
    assert workspace.read(AttackMetrics).metrics == metrics
    curves = {file.stem: pd.read_csv(file) for file in workspace.path(Place.ATTACKS).glob("*.csv")}
    assert set(curves) == set(ATTACKS)
    for curve in curves.values():
        assert list(curve.columns) == ["model", "x", "value"]
        assert set(curve["model"]) == {"after", "retain_model"}
        assert curve["value"].between(0, 1).all()
    by_record = pd.read_parquet(workspace.attacked("after", "relearning"))
    assert "old" not in set(by_record["record_id"])
    others = by_record[~by_record["relearned"] & (by_record["step"] == by_record["step"].max())]
    assert metrics["after"]["relearned_probability"] == pytest.approx(others["probability"].mean())
    by_record = pd.read_parquet(workspace.attacked("retain_model", "quantisation"))
    in_4_bits = by_record[by_record["bits"] == 4]["probability"].mean()
    assert metrics["retain_model"]["quantised_4_bit_probability"] == pytest.approx(in_4_bits)
    assert set(metrics["after"]) == {
        "relearned_probability",
        "quantised_8_bit_probability",
        "quantised_4_bit_probability",
        "paraphrased_probability",
        "paraphrased_rouge_l_recall",
        "question_formats_probability",
        "question_formats_rouge_l_recall",
        "clues_probability",
        "clues_rouge_l_recall",
        "prefix_attack_rouge_l_recall",
        "sampling_rouge_l_recall",
        "logit_lens_probability",
    }


def test_a_killed_attack_goes_on_with_the_model_it_was_at(workspace, loaded, monkeypatch, capsys):
    def killed(name):
        if len(loaded) == 1:
            raise KeyboardInterrupt
        return load(name)

    load = model.load_model
    monkeypatch.setattr(model, "load_model", killed)
    with pytest.raises(KeyboardInterrupt):
        attack(workspace)
    monkeypatch.setattr(model, "load_model", load)
    metrics, files = attack(workspace), written(workspace)
    assert loaded == [str(workspace.path(place)) for place in (Place.MODEL, Place.RETAIN_MODEL_FILES)]
    assert "attacks on after: taken from an earlier measurement" in capsys.readouterr().out
    workspace.path(Place.STAMPS, "attack.json").unlink()
    assert attack(workspace) == metrics
    assert len(loaded) == 2  # both were finished
    assert written(workspace) == files


def test_a_retry_attacks_the_unlearned_model_alone(workspace, loaded):
    attack(workspace)
    save_model(workspace.path(Place.MODEL), 2)
    attack(workspace)
    assert loaded[2:] == [str(workspace.path(Place.MODEL))]


def test_what_is_switched_off_leaves_nothing(workspace, loaded):
    attack(workspace, "evaluate.robustness.attacks=[quantisation]")
    assert attack(workspace, "evaluate.robustness.attacks=[]") == {}
    assert not list(workspace.path(Place.ATTACKS).glob("*.csv"))
    assert len(loaded) == 2


def test_at_most_so_many_records_drawn_with_the_seed(workspace):
    drawn = set()
    for seed in range(4):
        quantisation = "evaluate.robustness.attacks=[quantisation]"
        attack(workspace, quantisation, "evaluate.robustness.max_examples=2", f"seed={seed}")
        frame = pd.read_parquet(workspace.attacked("after", "quantisation"))
        assert frame["record_id"].nunique() == 2
        drawn |= set(frame["record_id"])
    assert len(drawn) > 2, "always the same ones"
