"""A run that goes on from given weights begins there, and compares with the model before all the same."""

import copy
import shutil

import pytest
import torch

from tests.training.knowing import knowing_model
from tests.training.test_reference import log_p
from tests.training.tiny import (
    ALTERNATIVES,
    FORGET,
    RETAIN,
    TOKENIZER,
    largest_difference,
    tiny_model,
    tiny_trainer,
    weights,
)
from unilogit.data.tokenisation import encode_pair
from unilogit.errors import InputError
from unilogit.training.stopping import Monitor

WAYS = pytest.mark.parametrize("way", [{}, {"lora_rank": 2}], ids=["all weights", "adapters"])
STILL = {"learning_rate": 1e-30, "unmoved": "continue"}
MONITOR = Monitor(FORGET, RETAIN, RETAIN[:4])


def half_way(**knobs):
    """Weights of a run that forgot a little, by the names of parameters."""
    model = knowing_model()
    tiny_trainer(model, method="grad_diff", learning_rate=1e-3, **knobs).run()
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def going_on(start, folder=None, model=None, monitor=MONITOR, retain=RETAIN, **knobs):
    others = {"start": dict(start), "monitor": monitor, "retain": retain, "alternatives": ALTERNATIVES}
    return tiny_trainer(model or knowing_model(), folder, others, **knobs)


def divergence(model, other, prompt, answer):
    """KL(model ‖ other) of each answer token, from plain full logits in float64."""
    ids, first = encode_pair(TOKENIZER, prompt, answer)
    with torch.no_grad():
        p, q = (each.eval()(torch.tensor([ids])).logits[0].double().log_softmax(-1) for each in (model, other))
    return (p.exp() * (p - q)).sum(-1)[first - 1 : len(ids) - 1]


@WAYS
def test_it_begins_with_the_given_weights(way):
    start = half_way()
    task = going_on(start, **STILL, **way)
    task.run()
    for name, parameter in task.model.named_parameters():
        assert torch.equal(parameter, start[name])


@WAYS
def test_the_models_own_weights_change_nothing(way):
    model = knowing_model()
    own = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    plain = going_on(own, retain_term="kl", **way)
    plain.start.put()  # once more than it is to be
    plain.start.weights = own
    plain.run()
    without = tiny_trainer(model, None, {"monitor": MONITOR}, retain_term="kl", **way)
    without.run()
    assert largest_difference(weights(plain.model), weights(without.model)) == 0.0


@WAYS
def test_what_is_compared_with_is_the_model_before(way):
    start, parent, begun = half_way(), knowing_model(), knowing_model()
    begun.load_state_dict(start, strict=False)
    begun.tie_weights()
    task = going_on(start, retain=RETAIN[:1], method="dpo", retain_term="kl", **STILL, **way)
    history = task.run()
    for measured, pair in zip(task.examples.reference_log_p, FORGET, strict=False):
        assert measured == pytest.approx(log_p(parent, *pair), rel=1e-5)
    told = [entry["retain_loss"] for entry in history if "retain_loss" in entry]
    assert told == pytest.approx(len(told) * [float(divergence(parent, begun, *RETAIN[0]).mean())], rel=1e-3)
    before, *_, after = (entry for entry in history if "forget_nll" in entry)
    means = [-torch.tensor([log_p(model, *pair).mean() for pair in FORGET]).mean() for model in (parent, begun)]
    assert (before["forget_nll"], after["forget_nll"]) == pytest.approx([float(mean) for mean in means], rel=1e-3)


@WAYS
def test_a_kill_changes_nothing(way, tmp_path):
    start = half_way()
    knobs = {"monitor": Monitor(FORGET, RETAIN), "epochs": 3, **way}  # nobody to stop by
    whole = going_on(start, tmp_path / "whole", **knobs)
    history = whole.run()
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    checkpoints = sorted((tmp_path / "killed").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    shutil.rmtree(checkpoints[-1])
    assert len(checkpoints) > 1
    resumed = going_on(start, tmp_path / "killed", **knobs)
    assert [entry["step"] for entry in resumed.run()] == [entry["step"] for entry in history]
    assert largest_difference(weights(resumed.model), weights(whole.model)) == 0.0


def test_another_start_is_another_run(tmp_path):
    start = half_way()
    going_on(start, tmp_path).run()
    other = {name: tensor + 1e-3 for name, tensor in start.items()}
    with pytest.raises(InputError, match="is of a run with another configuration, seed or records"):
        going_on(other, tmp_path).run()


def test_16_bits_are_put_into_the_32_that_are_trained():
    model = tiny_model(torch.bfloat16)
    start = {name: (2 * tensor).detach() for name, tensor in model.named_parameters()}
    task = going_on(start, model=copy.deepcopy(model), **STILL)
    task.run()
    assert all(torch.equal(tensor, start[name]) for name, tensor in task.model.named_parameters())


@pytest.mark.parametrize("change", ["shape", "name"])
def test_weights_of_another_model_are_refused(change):
    start = half_way()
    name, tensor = start.popitem()
    start |= {name: tensor[..., :-1]} if change == "shape" else {"other": tensor}
    with pytest.raises(InputError, match=r"model\.start: is another model than the one that is unlearned from"):
        going_on(start)
