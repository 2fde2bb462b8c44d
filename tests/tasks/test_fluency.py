"""Answers about the forgotten: judged by one model for all, kept by what was said, and told for every model."""

import pandas as pd
import pytest

from tests.tasks.steps.measurable import make, params, run
from unilogit.data.records import frame_records
from unilogit.evaluation.fluency import measure_fluency
from unilogit.evaluation.generation import reachable_answers
from unilogit.files import read_json
from unilogit.model import load_model

ROLES = ("before", "after", "retain_model")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))
    make(tmp_path / "workspace")
    return tmp_path / "workspace"


def measured(workspace):
    metrics = read_json(workspace / "evaluation" / "metrics.json")
    return {role: metrics[role]["fluency"] for role in ROLES}


def judged(workspace, judge):
    """What a plain call says of the answers that were kept."""
    model, tokenizer = load_model(str(judge))
    tokenizer = params().model.formatted(tokenizer)
    rows = pd.read_parquet(workspace / "data" / "forget.parquet")
    records = frame_records(rows[rows["batch"] == "current"])
    prompts = [record.context for record in records]
    references = reachable_answers(model, tokenizer, prompts, [record.response for record in records], 16)
    fluency = {}
    for role in ROLES:
        examples = pd.read_parquet(workspace / "evaluation" / "models" / f"{role}.parquet")
        said = examples.loc[examples["set"] == "forget", "generated"].tolist()
        told = measure_fluency(model, tokenizer, prompts, said, references, batch_tokens=1000)
        fluency[role] = told.findings().metrics
    return fluency


def test_the_model_before_judges_every_model(workspace):
    summary = run(workspace)
    assert measured(workspace) == judged(workspace, workspace / "before")
    assert "judge answers" in str(summary.took["after"])
    again = run(workspace)
    assert all("fluency" in again.took[role].earlier for role in ROLES)


def test_the_checkpoint_before_the_corpus_judges_where_there_is_one(workspace):
    run(workspace)
    by_parent = measured(workspace)
    run(workspace, f"model.pretrained={workspace / 'retain_model' / 'model'}")
    by_pretrained = measured(workspace)
    assert by_pretrained == judged(workspace, workspace / "retain_model" / "model")
    for role in ROLES:
        assert by_pretrained[role]["repetition"] == by_parent[role]["repetition"]
        assert by_pretrained[role]["nll"] != by_parent[role]["nll"]
