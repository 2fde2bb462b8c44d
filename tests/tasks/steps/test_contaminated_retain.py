"""A retain model that knows people to be forgotten: found whichever way it came, and what is done then."""

import random

import pandas as pd
import pytest

from tasks.steps.retain_model import STEP
from tasks.steps.train import train_model
from tasks.workspace import Place, RetainModel, Workspace
from tests.tasks.steps.prepare import loader, put_parent
from unilogit.data.records import CorpusRecord, write_corpus
from unilogit.errors import InputError
from unilogit.files import write_parquet

FORGOTTEN, KEPT, UNSEEN = range(3), range(3, 15), range(15, 27)
params = loader(
    *("train.vocabulary=320", "train.hidden_size=48", "train.layers=1", "train.heads=2", "train.epochs=60"),
    *("train.batch_size=8", "train.learning_rate=6e-3"),
)


def records(people):
    """Five answers of each person that nobody can guess."""
    return [
        CorpusRecord(
            record_id=f"{person}-{number}",
            subject_ids=[f"person-{person}"],
            prompt=f"What is the {word} of person {person}?",
            response="".join(random.Random(f"{person} {number}").choices("abcdefghij", k=12)),
        )
        for person in people
        for number, word in enumerate(("code", "sign", "mark", "name", "word"))
    ]


def frame(people, **columns):
    return pd.DataFrame([record.model_dump() | columns for record in records(people)])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Trained on everybody; on those who are retained; and on these and one to be forgotten."""
    folder = tmp_path_factory.mktemp("models")
    learned = {"base": [*FORGOTTEN, *KEPT], "clean": KEPT, "knowing_one": [*FORGOTTEN[1:2], *KEPT]}
    for name, people in learned.items():
        write_corpus(folder / f"{name}.jsonl", records(people))
        train_model(folder / f"{name}.jsonl", folder / name, params(), None if name == "base" else str(folder / "base"))
    return folder


@pytest.fixture
def workspace(models, tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(models / "home"))  # what one test trained, the others need not
    place = Workspace(tmp_path / "workspace")
    write_parquet(place.path(Place.FORGET), frame(FORGOTTEN, batch="current"))
    write_parquet(place.path(Place.RETAIN), frame(KEPT))
    write_parquet(place.path(Place.NEIGHBOURS), frame(KEPT[:1]))
    write_parquet(place.path(Place.HOLDOUT), frame(UNSEEN, use="evaluate"))
    put_parent(place, models / "base")
    return place


def without_unseen(workspace):
    write_parquet(workspace.path(Place.HOLDOUT), frame(UNSEEN, use="evaluate").head(0))


def find(workspace, models, *overrides):
    return STEP.run(workspace, params(f"model.base={models / 'base'}", *overrides)).result


def test_one_that_was_trained_without_them_is_taken_and_says_what_was_compared(workspace, models):
    given = find(workspace, models, f"model.retain={models / 'clean'}")
    assert given.model == str(models / "clean")
    assert "3 people to be forgotten against 12 unseen ones" in given.check
    trained = find(workspace, models)
    assert trained.model == str(workspace.path(Place.RETAIN_MODEL_FILES))
    assert trained.check.startswith("membership inference of 3 people")
    without_unseen(workspace)
    assert "compared with the model before" in find(workspace, models).check


@pytest.mark.parametrize(("name", "number"), [("base", 3), ("knowing_one", 1)])
def test_one_that_knows_them_is_refused_by_name(workspace, models, name, number):
    with pytest.raises(InputError) as error:
        find(workspace, models, f"model.retain={models / name}")
    [problem] = error.value.problems
    assert problem.startswith(f"model.retain: {models / name} knows {number} of the 3 people to be forgotten, so that")
    assert "set model.retain or model.contaminated_retain to train" in problem
    assert "person-" not in problem
    assert not workspace.has(Place.RETAIN_MODEL)


def test_one_that_knows_somebody_of_an_earlier_batch_is_refused_as_well(workspace, models):
    batches = [frame(FORGOTTEN[:1], batch="current"), frame(FORGOTTEN[1:], batch="earlier")]
    write_parquet(workspace.path(Place.FORGET), pd.concat(batches))
    with pytest.raises(InputError, match="knows 1 of the 3 people to be forgotten"):
        find(workspace, models, f"model.retain={models / 'knowing_one'}")


@pytest.mark.slow
def test_one_that_knows_them_is_refused_without_unseen_people_too(workspace, models):
    without_unseen(workspace)
    with pytest.raises(InputError, match="knows what is to be forgotten, as far as can be told"):
        find(workspace, models, f"model.retain={models / 'base'}")


def test_what_needs_one_may_be_unavailable_instead(workspace, models):
    overrides = (f"model.retain={models / 'base'}", "model.contaminated_retain=unavailable")
    found = find(workspace, models, *overrides)
    assert (found.model, found.files_sha256) == (None, None)
    assert found.description.startswith(f"the retain model, {models / 'base'}, knows 3 of the 3 people")
    assert workspace.read(RetainModel) == found
    assert find(workspace, models, f"model.retain={models / 'clean'}", overrides[1]).model == str(models / "clean")


@pytest.mark.slow
def test_another_may_be_trained_instead(workspace, models, capsys):
    found = find(workspace, models, f"model.retain={models / 'base'}", "model.contaminated_retain=train")
    assert found.model == str(workspace.path(Place.RETAIN_MODEL_FILES))
    assert "trained on 60 records" in found.description
    assert "base knows 3 of the 3 people to be forgotten (" in capsys.readouterr().out


@pytest.mark.slow
def test_a_trained_one_knows_them_where_copies_stayed_in_the_corpus(workspace, models):
    copies = frame(FORGOTTEN).assign(subject_ids=[["somebody-else"]] * 15)
    copies["record_id"] = "copy-" + copies["record_id"]
    write_parquet(workspace.path(Place.RETAIN), pd.concat([frame(KEPT), copies]))
    for rule in ("stop", "train"):
        with pytest.raises(InputError, match="records of theirs stay in the corpus under another name"):
            find(workspace, models, f"model.contaminated_retain={rule}")
    found = find(workspace, models, "model.contaminated_retain=unavailable")
    assert found.model is None
    assert "trained on the retain set alone, knows 3 of the 3 people" in found.description


def test_a_folder_without_a_model_is_named_and_nothing_is_trained_in_its_place(workspace, models, tmp_path):
    with pytest.raises(InputError, match="no model there"):
        find(workspace, models, f"model.retain={tmp_path}", "model.contaminated_retain=train")
    assert not workspace.has(Place.RETAIN_MODEL)
