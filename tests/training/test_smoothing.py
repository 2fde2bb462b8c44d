"""A smoothed step against its formula by plain autograd; the same in parts and in processes."""

import pytest
import torch
from transformers import TrainerCallback

from tests.training.tiny import FORGET, largest_difference, tiny_model, tiny_trainer, weights
from unilogit.errors import InputError
from unilogit.losses.npo_sam import NpoSam
from unilogit.training.examples import FORGET as TO_FORGET

RADIUS, BETA, WEIGHT = 0.3, 0.1, 5.0


class KeepGradients(TrainerCallback):
    """Those of the first step as the optimizer takes them: clipped."""

    def __init__(self):
        self.gradients = {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if not self.gradients:
            self.gradients = {name: p.grad.detach().clone() for name, p in model.named_parameters()}


def smoothed(model, accumulation=1, **knobs):
    sam = NpoSam(beta=BETA, radius=RADIUS)
    return tiny_trainer(model, method="npo_sam", npo_sam=sam, accumulation=accumulation, **knobs)


def log_p_of_answers(model, examples):
    """Sum over the answer of each example, by whole logits."""
    sums = []
    for ids, start in examples:
        log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)
        sums.append(torch.stack([log_p[place - 1, ids[place]] for place in range(start, len(ids))]).sum())
    return torch.stack(sums)


def by_the_formula(model, examples, steps=4):
    """Gradients of the first step: NPO at θ + ρ g/‖g‖, and the NLL at θ."""
    rows = [row for position in range(steps) for row in examples[position]]
    forget = [row.example for row in rows if row.role == TO_FORGET]
    retain = [row.example for row in rows if row.role != TO_FORGET]
    parameters = list(model.parameters())
    reference = log_p_of_answers(model, forget).detach()

    def npo():
        ratio = log_p_of_answers(model, forget) - reference
        return (2 / BETA * torch.log(1 + ratio.exp() ** BETA)).mean()

    here = torch.autograd.grad(npo(), parameters)
    norm = torch.sqrt(sum(part.square().sum() for part in here))
    before = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter, part in zip(parameters, here, strict=True):
            parameter.add_(RADIUS * part / norm)
    there = torch.autograd.grad(npo(), parameters)
    with torch.no_grad():
        for parameter, value in zip(parameters, before, strict=True):
            parameter.copy_(value)
    tokens = sum(len(ids) - start for ids, start in retain)
    nll = torch.autograd.grad(-log_p_of_answers(model, retain).sum() / tokens, parameters)
    total = [one + WEIGHT * two for one, two in zip(there, nll, strict=True)]
    norm = torch.sqrt(sum(part.square().sum() for part in total))
    assert norm > 1, "the trainer clips it to 1"
    return {name: part / norm for (name, _), part in zip(model.named_parameters(), total, strict=True)}


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_a_step_has_the_gradient_of_the_formula(accumulation):
    model = tiny_model(torch.float64)
    trainer = smoothed(model, accumulation, epochs=1)
    expected = by_the_formula(tiny_model(torch.float32).double(), trainer.examples)
    kept = KeepGradients()
    trainer.add_callback(kept)
    trainer.run()
    scale = max(value.abs().max().item() for value in expected.values())
    assert largest_difference(expected, kept.gradients) < 1e-4 * scale


def test_only_the_optimizer_moves_the_weights():
    model = tiny_model()
    before = weights(model)
    smoothed(model, epochs=1, learning_rate=1e-12).run()
    assert largest_difference(before, weights(model)) < 1e-9


def test_both_terms_are_recorded_once_a_step():
    history = smoothed(tiny_model(), accumulation=2, epochs=2).run()
    steps = [entry for entry in history if "forget_loss" in entry]
    assert len(steps) == 2 * len(FORGET) / 4
    first = steps[0]
    assert first["forget_loss"] > 2 / BETA * torch.log(torch.tensor(2.0)), "it is that of the weights nearby"
    assert first["loss"] == pytest.approx(first["forget_loss"] + WEIGHT * first["retain_loss"], rel=1e-4)


def test_without_a_retain_term_there_is_nothing_to_pass():
    history = smoothed(tiny_model(), epochs=1, retain_term="none").run()
    assert "retain_loss" not in history[0]
    assert history[0]["loss"] == pytest.approx(history[0]["forget_loss"])


def test_a_small_radius_is_npo():
    one, two = tiny_model(), tiny_model()
    tiny_trainer(one, method="npo_sam", npo_sam=NpoSam(radius=1e-9), epochs=1).run()
    tiny_trainer(two, method="npo", epochs=1).run()
    assert largest_difference(weights(one), weights(two)) < 1e-5


def test_a_part_that_is_filled_up_adds_nothing():
    """Three examples in a step of four: the last part of two is an example and a filler, that of one a filler alone."""
    results = []
    for accumulation in (1, 2, 4):
        model = tiny_model(torch.float64)
        smoothed(model, accumulation, arguments={"forget": FORGET[:3]}, epochs=1).run()
        results.append(weights(model))
    assert largest_difference(results[0], results[1]) < 1e-8
    assert largest_difference(results[0], results[2]) < 1e-8


def test_where_forgetting_has_no_gradient_nothing_moves(monkeypatch):
    trainer = smoothed(tiny_model(), epochs=1)
    monkeypatch.setattr(trainer, "_pass", lambda *arguments: None)  # leaves every gradient as it is: none
    assert all(not move.any() for move in trainer._uphill(trainer.model, 1))


def test_where_the_model_is_no_model_nearby_the_run_says_so():
    trainer = tiny_trainer(tiny_model(), method="npo_sam", npo_sam=NpoSam(radius=1e30), epochs=1, retain_term="none")
    with pytest.raises(InputError, match=r"the loss is nan by step 2, .*; lower unlearn.npo_sam.radius or"):
        trainer.run()
