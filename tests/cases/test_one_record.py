"""A batch of one record, or of two: as many optimiser steps as it takes, not as many passes as a large one."""

import pytest

from tests.cases.test_prompt_format import KNOWN, QUESTIONS, UNSEEN, model  # noqa: F401
from unilogit.data.prompt_format import with_prompt_format
from unilogit.evaluation.probability import score_answers
from unilogit.model import load_model
from unilogit.training.config import UnlearnConfig
from unilogit.training.stopping import Monitor
from unilogit.training.trainer import UnlearningTrainer


def pairs(records):
    return [(record.prompt, record.response) for record in records]


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_of_one_record_is_forgotten(model, count):  # noqa: F811
    loaded, tokenizer = load_model(str(model))
    formatted = with_prompt_format(tokenizer, QUESTIONS)
    forget, retain, unseen = pairs(KNOWN[:count]), pairs(KNOWN[count:]), pairs(UNSEEN)
    config = UnlearnConfig()
    trainer = UnlearningTrainer(
        model=loaded,
        tokenizer=formatted,
        forget=forget,
        retain=retain,
        config=config,
        monitor=Monitor(forget, retain, unseen),
        max_length=64,
    )
    assert len(trainer.examples) == config.min_steps * config.batch_size
    assert f"after {config.min_steps} optimiser steps at the latest" in trainer.stop_rule
    history = trainer.run()
    measured = [entry for entry in history if "forget_nll" in entry]
    assert len(measured) <= config.epochs + 1  # no more often than of a large batch
    before, now = measured[0], measured[-1]
    assert before["forget_nll"] < 1 < before["unseen_nll"] <= now["forget_nll"]
    assert trainer.state.global_step > config.epochs * count / config.batch_size
    assert now["retain_probability"] >= 0.9 * before["retain_probability"]
    own = score_answers(loaded, formatted, *zip(*forget, strict=True))
    assert own["nll"].min() > 1
