"""The step on a tiny model: what it finds is what training is given, and is found once."""

import numpy as np
import pandas as pd
import pytest

from tasks.params import TOKENS
from tasks.steps.targets import STEP, read_targets
from tasks.steps.train import STEP as TRAIN
from tasks.steps.unlearn import STEP as UNLEARN
from tasks.workspace import Place, TokenTargets, Workspace
from tests.tasks.steps.prepare import put_parent
from tests.tasks.steps.test_unlearn import FORGET, RETAIN, UNSEEN, params, people
from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.errors import InputError
from unilogit.evaluation.token_scores import score_tokens
from unilogit.files import write_parquet
from unilogit.model import load_model

OWN = ("unlearn.target=auto", "unlearn.retain_recovery=0.98")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One that knows whom it is to forget, and one that learned the others alone, both from the same tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    made = []
    for name, numbers in (("parent", [*FORGET, *RETAIN]), ("pretrained", RETAIN)):
        write_corpus(folder / name / "corpus.jsonl", [CorpusRecord(**row) for row in people(numbers)])
        made.append(TRAIN.run(Workspace(folder / name), params()).result.model)
    load_model(made[0])[1].save_pretrained(made[1])
    return made


def prepared(folder, parent, unseen=UNSEEN):
    write_parquet(folder / "data" / "forget.parquet", pd.DataFrame(people(FORGET)).assign(batch="current"))
    write_parquet(folder / "data" / "retain.parquet", pd.DataFrame(people(RETAIN)))
    write_parquet(folder / "data" / "neighbours.parquet", pd.DataFrame(people(RETAIN)).head(0))
    columns = pd.DataFrame(people(UNSEEN)).assign(use="stop")
    write_parquet(folder / "data" / "holdout.parquet", columns.head(len(unseen)))
    put_parent(Workspace(folder), parent)
    return Workspace(folder)


def test_each_token_of_a_forget_record_has_a_target_that_training_takes(models, tmp_path, capsys):
    workspace = prepared(tmp_path, models[0])
    told = STEP.run(workspace, params(*OWN, f"model.pretrained={models[1]}")).result
    assert told == workspace.read(TokenTargets)
    assert set(told.correlation) == set(told.recall) == {"base", "neighbours", "unseen"}
    assert all(name in str(told) for name in told.correlation)
    assert told.source is not None
    model, tokenizer = load_model(models[0])
    scores = score_tokens(model, tokenizer, *zip(*((r["prompt"], r["response"]) for r in people(FORGET)), strict=True))
    targets = read_targets(workspace)
    assert [rows.shape for rows in targets] == [(2, len(each.log_p)) for each in scores]
    assert max(np.concatenate(targets, axis=1).ravel()) < 0
    training = UNLEARN.run(workspace, params(*OWN, f"model.pretrained={models[1]}")).result
    assert "each forget token is driven to its own target" in training.stop_rule


def test_the_next_batch_of_the_same_records_does_not_measure_again(models, tmp_path, capsys):
    first, again = (prepared(tmp_path / name, models[0]) for name in ("first", "again"))
    for workspace in (first, again):
        STEP.run(workspace, params(*OWN))
    assert "what forget tokens are driven to: taken from an earlier measurement" in capsys.readouterr().out
    for one, other in zip(read_targets(first), read_targets(again), strict=True):
        np.testing.assert_array_equal(one, other)
    other_model = prepared(tmp_path / "other", models[1])
    STEP.run(other_model, params(*OWN))
    assert "earlier measurement" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["unlearn.target=uniform"], "to 1/V, as unlearn.target is uniform"),
        (["unlearn.target=auto", "unlearn.method=npo"], "npo drives tokens where it does"),
        (
            [*OWN, "unlearn.pause_forgotten=false"],
            "1/V, as unlearn.pause_forgotten is False, which is of that alone",
        ),
        ([*OWN, "unlearn.unilogit.direction=forward"], "to 1/V, as unlearn.unilogit.direction is forward"),
    ],
)
def test_where_no_token_has_its_own_it_says_why(models, tmp_path, overrides, told):
    workspace = prepared(tmp_path, models[0])
    result = STEP.run(workspace, params(*overrides)).result
    assert told in str(result)
    assert result.source is None
    assert read_targets(workspace) == []


def test_without_unseen_people_auto_is_one_over_v_and_a_source_is_refused(models, tmp_path):
    workspace = prepared(tmp_path, models[0], unseen=())
    assert "to 1/V: there are no unseen people" in str(STEP.run(workspace, params(*OWN)).result)
    assert "stops" in UNLEARN.run(workspace, params(*OWN)).result.stop_rule
    with pytest.raises(InputError, match=r"unlearn\.target is unseen, but there are no unseen people"):
        STEP.run(workspace, params("unlearn.target=unseen", "unlearn.retain_recovery=0.98"))


def test_it_depends_on_all_that_it_reads():
    assert set(TOKENS) <= set(STEP.params)
    assert Place.HOLDOUT in STEP.reads
