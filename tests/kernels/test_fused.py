"""The one-pass loss against the float64 reference, and what it promises: products, memory, where it works."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from tests.kernels.problems import assert_near, logit_problem, make, problems, true_scores
from unilogit.kernels import Chunk, HeadSpec, every_row, fused_target_loss, rows_where
from unilogit.losses.answers import Answers
from unilogit.losses.unilogit import Unilogit, unilogit_loss

BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-5}
ROUNDED = {torch.bfloat16: 2**-8, torch.float16: 2**-11}


def nll(scores):
    return -scores.log_p


def unilogit(scores, vocabulary, direction):
    return unilogit_loss(Answers(*scores, vocabulary=vocabulary), Unilogit(direction))


def losses(vocabulary):
    return {
        "reverse": partial(unilogit, vocabulary=vocabulary, direction="reverse"),
        "forward": partial(unilogit, vocabulary=vocabulary, direction="forward"),
        "nll": nll,
        "complement only": lambda scores: -scores.log_complement,
    }


def expected(problem, loss, weights):
    """Per-token losses, and the gradients of their weighted sum, in float64."""
    problem = problem.to(torch.float64)
    leaves = problem.leaves()
    per_token = loss(true_scores(**problem.arguments(leaves)))
    (per_token * weights).sum().backward()
    return [per_token.detach(), *(leaf.grad for leaf in leaves)]


def actual(problem, loss, weights, **options):
    leaves = problem.leaves()
    result = fused_target_loss(**problem.arguments(leaves, **options), loss=every_row(loss), weights=weights)
    result.total.backward()
    torch.testing.assert_close(
        result.total.detach().double(), (result.per_token * weights).sum().double(), rtol=1e-5, atol=1e-5
    )
    assert not result.per_token.requires_grad
    assert not result.log_p.requires_grad
    return [result.per_token, *(leaf.grad for leaf in leaves)]


def random_weights(problem, seed=0):
    return torch.rand(len(problem.target), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", list(BOUNDS))
@given(
    problem=problems(),
    name=st.sampled_from(list(losses(2))),
    rows=st.integers(1, 4),
    columns=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=80)
def test_value_and_gradients_equal_the_reference(dtype, problem, name, rows, columns, seed):
    problem, weights = problem.to(dtype), random_weights(problem, seed)
    loss = losses(len(problem.weight))[name]
    results = actual(problem, loss, weights, chunk=Chunk(rows, columns, dtype))
    for result, truth in zip(results, expected(problem, loss, weights), strict=True):
        assert_near(result, truth, BOUNDS[dtype])


@pytest.mark.parametrize("dtype", list(ROUNDED))
@pytest.mark.parametrize("wide_products", [True, False])
@pytest.mark.parametrize("name", list(losses(2)))
def test_16_bit(dtype, wide_products, name):
    problem = make(9, 300, 32, scale=0.3).to(dtype)
    weights, loss = random_weights(problem), losses(300)[name]
    results = actual(problem, loss, weights, chunk=None if wide_products else Chunk(4, 77, dtype))
    assert [tensor.dtype for tensor in results] == [torch.float32] + [dtype] * 3
    # 16-bit products round the logits, of magnitude up to 8, too.
    bounds = [1e-5, *[ROUNDED[dtype]] * 3] if wide_products else [8 * ROUNDED[dtype]] * 4
    for result, truth, bound in zip(results, expected(problem, loss, weights), bounds, strict=True):
        assert_near(result, truth, bound)


@pytest.mark.parametrize("dtype", list(BOUNDS))
@pytest.mark.parametrize("name", ["reverse", "forward", "nll"])
@pytest.mark.parametrize("gap", [-1e4, -100.0, 17.0, 40.0, 100.0, 1e4])
def test_certain_and_impossible_targets(gap, name, dtype):
    logits = torch.tensor([[0.0, gap, -1.0, 0.5, 0.0], [gap, 0.0, gap, gap, -gap]])
    problem = logit_problem(logits, torch.tensor([1, 4])).to(dtype)
    weights, loss = random_weights(problem), losses(5)[name]
    results = actual(problem, loss, weights, chunk=Chunk(2, 2, dtype))
    for result, truth in zip(results, expected(problem, loss, weights), strict=True):
        assert_near(result, truth, BOUNDS[dtype])


def test_no_tokens():
    leaves = make(0, 7).leaves()
    result = fused_target_loss(*leaves[:2], torch.zeros(0, dtype=torch.int64), every_row(nll), spec=HeadSpec(leaves[2]))
    result.total.backward()
    assert result.total.item() == 0
    assert result.per_token.shape == result.log_p.shape == (0,)
    assert all(leaf.grad.shape == leaf.shape and not leaf.grad.any() for leaf in leaves)


def test_forget_and_retain_rows_in_one_call():
    problem, is_forget = make(7, 19), torch.tensor([True, False, False, True, True, False, True])
    forget = losses(19)["reverse"]
    weights = torch.where(is_forget, 1 / 4, 5 / 3).double()
    leaves = problem.leaves()
    result = fused_target_loss(
        **problem.arguments(leaves, chunk=Chunk(3, 10, torch.float64)),
        loss=rows_where(is_forget, forget, nll),
        weights=weights,
    )
    result.total.backward()
    truths = expected(problem, lambda scores: torch.where(is_forget, forget(scores), nll(scores)), weights)
    for actual_value, truth in zip([result.per_token, *(leaf.grad for leaf in leaves)], truths, strict=True):
        assert_near(actual_value, truth, 1e-10)


def test_a_loss_may_look_up_its_rows():
    problem, parent = make(7, 19), torch.randn(7, dtype=torch.float64)

    def npo(target, rows):
        return -nn.functional.logsigmoid(-0.1 * (target.log_p - parent[rows]))

    leaves = problem.leaves()
    fused_target_loss(**problem.arguments(leaves, chunk=Chunk(2, 8, torch.float64)), loss=npo).total.backward()
    truths = expected(problem, lambda scores: npo(scores, slice(None)), torch.ones(7))
    for leaf, truth in zip(leaves, truths[1:], strict=True):
        assert_near(leaf.grad, truth, 1e-10)


@pytest.mark.parametrize(("live", "products"), [((True, True), 3), ((True, False), 2), ((False, True), 2)])
def test_number_of_matrix_products(live, products):
    rows, vocabulary, width = 10, 37, 6
    leaves = make(rows, vocabulary, width, bias=False).leaves()
    for leaf, is_live in zip(leaves, live, strict=True):
        leaf.requires_grad_(is_live)
    with FlopCounterMode(display=False) as counter:
        loss = every_row(losses(vocabulary)["reverse"])
        target = torch.arange(rows)
        fused_target_loss(*leaves, target, loss, spec=HeadSpec(chunk=Chunk(4, 9, torch.float64))).total.backward()
    assert counter.get_total_flops() == products * 2 * rows * vocabulary * width


def test_one_product_where_no_gradient_is_wanted():
    leaves = make(10, 37, 6, bias=False).leaves()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        result = fused_target_loss(*leaves, torch.arange(10), every_row(nll))
    assert counter.get_total_flops() == 2 * 10 * 37 * 6
    assert not result.total.requires_grad


def test_upstream_scale_and_a_second_backward():
    problem, weights = make(5, 23), torch.ones(5)
    leaves = problem.leaves()
    result = fused_target_loss(**problem.arguments(leaves), loss=every_row(nll))
    (2.5 * result.total).backward(retain_graph=True)
    result.total.backward()
    for leaf, truth in zip(leaves, expected(problem, nll, weights)[1:], strict=True):
        assert_near(leaf.grad, 3.5 * truth, 1e-10)


def test_second_derivatives_are_refused():
    leaves = make(3, 11).leaves()
    loss = fused_target_loss(*leaves[:2], torch.arange(3), every_row(nll)).total.square()
    (gradient,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


class Tied(nn.Module):
    """The smallest model whose head is its embedding."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding.from_pretrained(torch.randn(31, 8, generator=generator), freeze=False)
        self.mix = nn.Linear(8, 8)
        nn.init.eye_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, ids, target, one_pass=True):
        hidden = torch.tanh(self.mix(self.embedding(ids)))
        weight, loss = self.embedding.weight, losses(31)["reverse"]
        if one_pass:
            return fused_target_loss(hidden, weight, target, every_row(loss)).total
        return loss(true_scores(hidden=hidden, weight=weight, target=target)).sum()


def model_gradients(model, step):
    model.zero_grad()
    step().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


IDS, TARGET = torch.tensor([3, 1, 30, 3, 0]), torch.tensor([1, 30, 3, 0, 3])


def test_tied_embedding():
    model = Tied()
    truths = model_gradients(model, lambda: model(IDS, TARGET, one_pass=False))
    for result, truth in zip(model_gradients(model, lambda: model(IDS, TARGET)), truths, strict=True):
        assert_near(result, truth, 1e-5)


@pytest.mark.parametrize("reentrant", [True, False])
def test_under_checkpointing(reentrant):
    model = Tied()
    mask = torch.ones(1, requires_grad=True)  # a reentrant checkpoint needs an input with a gradient
    truths = model_gradients(model, lambda: model(IDS, TARGET))
    results = model_gradients(
        model, lambda: checkpoint(lambda one: one * model(IDS, TARGET), mask, use_reentrant=reentrant)
    )
    for result, truth in zip(results, truths, strict=True):
        assert torch.equal(result, truth)


def test_under_autocast():
    model = Tied()
    truths = model_gradients(model, lambda: model(IDS, TARGET))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(IDS, TARGET)
    assert loss.dtype == torch.float32
    for result, truth in zip(model_gradients(model, lambda: loss), truths, strict=True):
        assert result.dtype == torch.float32
        assert_near(result, truth, 2**-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": every_row(lambda scores: nll(scores).mean())}, "one value a token"),
        ({"weights": torch.ones(3)}, "one a token"),
        ({"target": torch.tensor([0, -100])}, "drop ignored positions"),
    ],
)
def test_bad_arguments_are_named(change, message):
    good = {
        "hidden": torch.zeros(2, 3),
        "weight": torch.zeros(5, 3),
        "target": torch.tensor([0, 4]),
        "loss": every_row(nll),
    }
    fused_target_loss(**good)
    with pytest.raises(ValueError, match=message):
        fused_target_loss(**{**good, **change})
