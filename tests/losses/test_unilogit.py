"""Unilogit against a plain implementation of the paper's definition, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses import papers
from unilogit.kernels import HeadSpec
from unilogit.kernels.reference import target_log_prob, target_log_prob_from_logits
from unilogit.losses.answers import ABSENT, Answers
from unilogit.losses.unilogit import DELTA, Unilogit, unilogit_loss


def unilogit_of_logits(logits, target, direction, log_tau=ABSENT):
    answers = Answers(*target_log_prob_from_logits(logits, target), vocabulary=logits.shape[1], log_target=log_tau)
    return unilogit_loss(answers, Unilogit(direction))


def value_and_gradient(loss, logits, weights):
    leaf = logits.clone().requires_grad_()
    per_token = loss(leaf)
    (per_token * weights).sum().backward()
    return per_token.detach(), leaf.grad


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@given(
    rows=st.integers(1, 6),
    vocabulary=st.integers(2, 257),
    scale=st.sampled_from([1e-3, 1.0, 10.0]),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_value_and_gradient_equal_the_papers_definition(direction, rows, vocabulary, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, vocabulary, dtype=torch.float64, generator=generator)
    target = torch.randint(vocabulary, (rows,), generator=generator)
    weights = torch.rand(rows, dtype=torch.float64, generator=generator)  # uniform weights would hide errors
    expected = value_and_gradient(lambda z: papers.unilogit(z, target, direction), logits, weights)
    actual = value_and_gradient(lambda z: unilogit_of_logits(z, target, direction), logits, weights)
    for result, truth in zip(actual, expected, strict=True):
        torch.testing.assert_close(result, truth, rtol=1e-10, atol=1e-10)


@given(
    log_tau=st.lists(st.floats(-40, -1e-4), min_size=1, max_size=6),
    vocabulary=st.integers(2, 65),
    scale=st.sampled_from([1e-3, 1.0, 10.0]),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=100)
def test_with_targets_it_is_hubers_function_of_the_distance_of_log_odds(log_tau, vocabulary, scale, seed):
    def of_softmax(logits):
        p = torch.softmax(logits, dim=1)
        others = 1 - torch.nn.functional.one_hot(target, vocabulary)
        log_odds = torch.log((p * (1 - others)).sum(dim=1)) - torch.log((p * others).sum(dim=1))
        distance = (log_odds - torch.logit(log_tau.exp())).abs()
        return torch.where(distance < DELTA, distance**2 / (2 * DELTA), distance - DELTA / 2)

    generator = torch.Generator().manual_seed(seed)
    log_tau = torch.tensor(log_tau, dtype=torch.float64)
    logits = scale * torch.randn(len(log_tau), vocabulary, dtype=torch.float64, generator=generator)
    target = torch.randint(vocabulary, (len(log_tau),), generator=generator)
    weights = torch.rand(len(log_tau), dtype=torch.float64, generator=generator)
    expected = value_and_gradient(of_softmax, logits, weights)
    actual = value_and_gradient(lambda z: unilogit_of_logits(z, target, "reverse", log_tau), logits, weights)
    for result, truth in zip(actual, expected, strict=True):
        torch.testing.assert_close(result, truth, rtol=1e-7, atol=1e-9)


def test_a_token_at_its_target_is_left_alone():
    logits = torch.randn(5, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    target = torch.tensor([0, 3, 10, 5, 5])
    log_tau = torch.log_softmax(logits, dim=1)[torch.arange(5), target]
    value, gradient = value_and_gradient(
        lambda z: unilogit_of_logits(z, target, "reverse", log_tau), logits, torch.ones(5, dtype=torch.float64)
    )
    torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_the_papers_target_gives_one_over_v():
    logits = torch.randn(5, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 3, 10, 5, 5])
    share = papers.unilogit_target(logits, target).exp().gather(1, target[:, None])
    torch.testing.assert_close(share, torch.full_like(share, 1 / 11), rtol=0, atol=1e-14)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_zero_loss_and_gradient_at_the_uniform_target(direction):
    logits = torch.zeros(3, 7, dtype=torch.float64, requires_grad=True)
    loss = unilogit_of_logits(logits, torch.tensor([0, 1, 6]), direction)
    loss.sum().backward()
    assert loss.abs().max() < 1e-14
    assert logits.grad.abs().max() < 1e-14


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("gap", [-1e4, -100.0, 40.0, 100.0, 1e4])
def test_certain_and_impossible_targets_stay_finite(direction, gap):
    logits = torch.zeros(1, 5)
    logits[0, 2] = gap
    logits.requires_grad_()
    loss = unilogit_of_logits(logits, torch.tensor([2]), direction)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()


def test_a_memorized_token_still_gets_a_gradient_in_float32():
    """log1p(−exp(log p)) would be −inf here; the logsumexp of the other logits is not."""
    logits = torch.zeros(1, 4)
    logits[0, 1] = 40.0
    expected = math.log(3) - 40.0
    assert target_log_prob_from_logits(logits, torch.tensor([1])).log_complement.item() == pytest.approx(expected)


def test_head_bias_and_softcap_enter_the_logits():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(4, 6, dtype=torch.float64, generator=generator)
    weight = torch.randn(9, 6, dtype=torch.float64, generator=generator)
    bias = torch.randn(9, dtype=torch.float64, generator=generator)
    target = torch.tensor([0, 8, 3, 3])
    logits = 5 * torch.tanh((hidden @ weight.T + bias) / 5)
    expected = torch.log_softmax(logits, dim=1).gather(1, target[:, None]).squeeze(1)
    scores = target_log_prob(hidden, weight, target, HeadSpec(bias, softcap=5.0))
    torch.testing.assert_close(scores.log_p, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(scores.log_complement, torch.log1p(-expected.exp()), rtol=1e-10, atol=1e-12)
