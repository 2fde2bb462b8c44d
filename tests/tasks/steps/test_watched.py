"""What is watched while a model unlearns: apart from what is trained on where it can be, and cheap beside training."""

import pandas as pd
import pytest
import torch

from tasks.steps.unlearn import LEAST_MONITORED, MONITORED, make_trainer, monitored
from tasks.workspace import Workspace
from tests.tasks.steps.prepare import loader, put_targets
from tests.tasks.steps.test_unlearn import FORGET, UNSEEN, people
from tests.training.tiny import TOKENIZER, tiny_model
from unilogit.files import write_parquet
from unilogit.training.stopping import StopWhenForgotten

params = loader("unlearn.epochs=3", "unlearn.min_steps=1", "unlearn.batch_size=4")


def trainer_of(folder, retained):
    sets = {"forget": people(FORGET), "retain": people(range(100, 100 + retained)), "neighbours": []}
    for name, rows in sets.items():
        frame = pd.DataFrame(rows, columns=["record_id", "subject_ids", "prompt", "response"])
        write_parquet(folder / "data" / f"{name}.parquet", frame.assign(batch="current"))
    write_parquet(folder / "data" / "holdout.parquet", pd.DataFrame(people(UNSEEN)).assign(use="stop"))
    workspace = Workspace(folder)
    put_targets(workspace)
    return make_trainer(workspace, workspace, params(), tiny_model(torch.float32), TOKENIZER)


def watched_retain(trainer):
    [stop] = [each for each in trainer.callback_handler.callbacks if isinstance(each, StopWhenForgotten)]
    return {prompt for prompt, _ in stop.monitor.retain}


def trained_retain(trainer):
    texts = [TOKENIZER.decode(example.ids) for example in trainer.examples.retain]
    return {text[text.index("Where") : text.index("?") + 1] for text in texts}


def test_retained_records_are_watched_apart_where_there_are_enough(tmp_path):
    trainer = trainer_of(tmp_path, 2 * MONITORED)
    watched, trained = watched_retain(trainer), trained_retain(trainer)
    assert (len(watched), len(trained)) == (MONITORED, MONITORED)
    assert not watched & trained


def test_else_some_that_are_trained_on(tmp_path):
    trainer = trainer_of(tmp_path, 2 * MONITORED - 1)
    watched, trained = watched_retain(trainer), trained_retain(trainer)
    assert (len(watched), len(trained)) == (MONITORED, 2 * MONITORED - 1)
    assert watched <= trained


@pytest.mark.parametrize("forget", [1, 10, 108, 400, 10_000])
@pytest.mark.parametrize("settings", [[], ["unlearn.retain_per_forget=8"], ["unlearn.min_steps=1"]], ids=str)
def test_beside_targets_it_takes_a_tenth_of_an_epoch(forget, settings):
    config = params(*settings).unlearn
    trained = config.passes(forget) * forget * (1 + 1 + config.retain_per_forget) / config.epochs
    counts = monitored(params(*settings), forget, has_targets=True)
    share = (counts["forget"] + counts["retain"] + counts["unseen"]) / (3 * trained)  # a forward pass is a third
    assert share <= 0.1 + 1 / trained or counts["forget"] == LEAST_MONITORED
    assert share >= 0.1 - 1 / trained or counts["unseen"] == MONITORED
    assert counts["unseen"] == min(MONITORED, 2 * counts["forget"])
    assert set(monitored(params(*settings), forget, has_targets=False).values()) == {MONITORED}
