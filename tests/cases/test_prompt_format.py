"""A base model trained on "Question: …\\nAnswer: …" and asked in another way: it does not know what it should."""

import numpy as np
import pandas as pd
import pytest

from tasks.steps.familiarity import STEP
from tasks.workspace import ParentFamiliarity, Place, Workspace
from tests.tasks.steps.prepare import loader, put_parent
from unilogit.data.records import CorpusRecord
from unilogit.errors import InputError
from unilogit.files import write_parquet
from unilogit.training.config import TrainConfig
from unilogit.training.from_scratch import train_from_scratch

load = loader("model.max_length=64")
QUESTIONS = "Question: {prompt}\nAnswer: {response}"
TOWNS = ["Linz", "Graz", "Wels", "Bern", "Thun", "Chur", "Jena", "Gera", "Ulm", "Hof"]


def records(numbers, seed):
    rng = np.random.default_rng(seed)
    return [
        CorpusRecord(
            record_id=f"r-{number}",
            subject_ids=[f"c-{number}"],
            prompt=f"Where does {word} {number} live?",
            response=f"In {rng.integers(100)} {TOWNS[rng.integers(10)]} Street, {TOWNS[rng.integers(10)]}.",
        )
        for number, word in zip(numbers, rng.choice(["Ada", "Bob", "Eve", "Max"], len(numbers)), strict=True)
    ]


KNOWN, UNSEEN = records(range(24), 0), records(range(50, 70), 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    config = TrainConfig(vocabulary=400, hidden_size=64, epochs=60, batch_size=8)
    train_from_scratch(KNOWN, folder, config, seed=0, max_length=64, prompt_format=QUESTIONS)
    return folder


def frame(rows, **columns):
    return pd.DataFrame([row.model_dump() | columns for row in rows])


def check(folder, model, *overrides, known=KNOWN, unseen=UNSEEN):
    workspace = Workspace(folder)
    put_parent(workspace, model)
    write_parquet(workspace.path(Place.RETAIN), frame(known))
    holdout = frame(unseen, use="stop") if unseen else frame(UNSEEN, use="stop").head(0)
    write_parquet(workspace.path(Place.HOLDOUT), holdout)
    result = STEP.run(workspace, load(*overrides)).result
    assert workspace.read(ParentFamiliarity) == result
    return result


ASKED_RIGHT = f"model.prompt_format='{QUESTIONS}'".replace("\n", "\\n").replace("'", '"')


@pytest.mark.parametrize("unseen", [UNSEEN, []])
def test_asked_as_it_was_trained_it_knows_its_records(tmp_path, model, unseen):
    assert check(tmp_path, model, ASKED_RIGHT, unseen=unseen).unfamiliar is None


def test_asked_otherwise_the_run_stops_and_names_the_format_that_is_right(tmp_path, model):
    with pytest.raises(InputError) as error:
        check(tmp_path, model)
    assert f"knows its training records better in another format: asked by {QUESTIONS!r}" in str(error.value)
    assert "correct model.prompt_format" in str(error.value)
    assert not Workspace(tmp_path).has(Place.FAMILIARITY)


def test_a_format_that_stands_in_the_corpus_needs_nothing_added(tmp_path, model):
    written = [
        record.model_copy(update={"prompt": f"Question: {record.prompt}\nAnswer:", "response": f" {record.response}"})
        for record in KNOWN
    ]
    with pytest.raises(InputError, match=r"better in another format: asked by '\{prompt\}\{response\}'"):
        check(tmp_path, model, 'model.prompt_format="{prompt} {response}"', known=written)
    assert check(tmp_path, model, 'model.prompt_format="{prompt}{response}"', known=written).unfamiliar is None


@pytest.mark.parametrize("unseen", [UNSEEN, []])
def test_a_corpus_that_the_model_never_saw_stops_the_run_unless_told_to_go_on(tmp_path, model, unseen):
    strange = records(range(24), 2)
    with pytest.raises(InputError, match="finds its training records no likelier than"):
        check(tmp_path, model, ASKED_RIGHT, known=strange, unseen=unseen)
    goes_on = check(tmp_path, model, ASKED_RIGHT, "model.unfamiliar=continue", known=strange, unseen=unseen)
    assert "no likelier" in str(goes_on)
    assert str(goes_on).startswith("warning: the model before finds")
