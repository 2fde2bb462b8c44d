"""What is asked of a run and cannot be had is refused before it begins, by the knob's name."""

import pytest

from tests.training.tiny import FORGET, RETAIN, tiny_model, tiny_trainer
from unilogit.errors import InputError


@pytest.mark.parametrize(
    ("knobs", "problem"),
    [
        ({"method": "none"}, "nothing to train"),
        ({"method": "rmu", "rmu": {"layer": 7}}, r"unlearn\.rmu\.layer is 7, but the model's layers are 0 to 1"),
        ({"method": "dpo"}, "a better answer for each of the 8 forget records, but there are 0; add them, or use idk"),
        ({"neighbour_share": 0.5}, r"unlearn\.neighbour_share is 0\.5, but there are no neighbours of the forgotten"),
        ({"retain_term": "none", "retain_weight": 2.0}, r"unlearn\.retain_weight is 2\.0, which would do nothing"),
    ],
    ids=str,
)
def test_a_knob_that_cannot_be_heeded_is_named(knobs, problem):
    with pytest.raises(InputError, match=problem):
        tiny_trainer(tiny_model(), **knobs)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"forget": []}, "nothing to forget"),
        ({"retain": []}, r"nothing to retain; set unlearn\.retain_term to none if that is meant"),
    ],
)
def test_a_set_that_is_empty_is_named(arguments, problem):
    with pytest.raises(InputError, match=problem):
        tiny_trainer(tiny_model(), arguments=arguments)


def test_a_model_that_cannot_is_named():
    model = tiny_model()
    model.supports_gradient_checkpointing = False
    with pytest.raises(InputError, match=r"unlearn\.gradient_checkpointing is true, but LlamaForCausalLM cannot"):
        tiny_trainer(model, gradient_checkpointing=True)


def test_retain_pairs_are_not_wanted_without_a_retain_term():
    task = tiny_trainer(tiny_model(), arguments={"retain": []}, retain_term="none")
    assert task.examples.retain == []


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_neighbours_are_drawn_by_their_share(share):
    arguments = {"retain": RETAIN[:8], "neighbours": RETAIN[8:]}
    task = tiny_trainer(tiny_model(), arguments=arguments, neighbour_share=share, epochs=9)
    assert len(task.examples.retain) == (8 if share == 0 else 11)
    drawn = [number >= 8 for number in task.examples.retain_order]
    assert len(drawn) == 9 * len(FORGET)
    assert abs(sum(drawn) / len(drawn) - share) < 0.2
