"""Every implementation of target_log_prob against the float64 reference: values and gradients."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from tests.kernels.problems import assert_near, logit_problem, make, problems, true_scores
from unilogit.kernels import Chunk, HeadSpec, TargetLogProb, target_log_prob

BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-5}
# Half the last place of each dtype, twice over: the gradients are rounded to it, sums are wider.
ROUNDED = {torch.bfloat16: 2**-8, torch.float16: 2**-11}


def answers(function, problem, upstream, **options):
    """log p, log(1 − p) and the gradients under an upstream gradient for each output and token."""
    leaves = problem.leaves()
    scores = function(**problem.arguments(leaves, **options))
    (scores.log_p * upstream[0] + scores.log_complement * upstream[1]).sum().backward()
    return [scores.log_p.detach(), scores.log_complement.detach(), *(leaf.grad for leaf in leaves)]


def expected_answers(problem, upstream):
    return answers(true_scores, problem.to(torch.float64), upstream)


def random_upstream(problem, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, len(problem.target), dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("dtype", list(BOUNDS))
@given(problem=problems(), rows=st.integers(1, 4), columns=st.integers(1, 40), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=80)
def test_value_and_gradients_equal_the_reference(dtype, problem, rows, columns, seed):
    problem, upstream = problem.to(dtype), random_upstream(problem, seed)
    actual = answers(target_log_prob, problem, upstream, chunk=Chunk(rows, columns, dtype))
    for result, truth in zip(actual, expected_answers(problem, upstream), strict=True):
        assert_near(result, truth, BOUNDS[dtype])


@pytest.mark.parametrize("dtype", list(ROUNDED))
@pytest.mark.parametrize("wide_products", [True, False])
@pytest.mark.parametrize("softcap", [None, 5.0])
def test_16_bit(dtype, wide_products, softcap):
    problem = make(9, 300, 32, scale=0.3, softcap=softcap).to(dtype)
    upstream = random_upstream(problem)
    chunk = None if wide_products else Chunk(4, 77, dtype)
    actual = answers(target_log_prob, problem, upstream, chunk=chunk)
    assert [tensor.dtype for tensor in actual] == [torch.float32] * 2 + [dtype] * 3
    # 16-bit products round the logits, of magnitude up to 8, too.
    bounds = [1e-5, 1e-5, *[ROUNDED[dtype]] * 3] if wide_products else [8 * ROUNDED[dtype]] * 5
    for result, truth, bound in zip(actual, expected_answers(problem, upstream), bounds, strict=True):
        assert_near(result, truth, bound)


def test_small_gradients_survive_half_precision_products():
    problem = make(4, 50, 8, bias=False).to(torch.float16)
    upstream = 1e-7 * random_upstream(problem)
    leaves = [problem.hidden.float().requires_grad_(), problem.weight.float().requires_grad_()]
    scores = target_log_prob(*leaves, problem.target, HeadSpec(chunk=Chunk(4, 50, torch.float16)))
    (scores.log_p * upstream[0] + scores.log_complement * upstream[1]).sum().backward()
    for leaf, truth in zip(leaves, expected_answers(problem, upstream)[2:], strict=True):
        assert_near(1e7 * leaf.grad, 1e7 * truth, 1e-2)


@pytest.mark.parametrize("dtype", list(BOUNDS))
@pytest.mark.parametrize("gap", [-1e4, -100.0, -1.0, 17.0, 40.0, 100.0, 1e4])
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_certain_and_impossible_targets(gap, dtype, columns):
    logits = torch.tensor([[0.0, gap, -1.0, 0.5, 0.0], [gap, 0.0, gap, gap, -gap]])
    problem = logit_problem(logits, torch.tensor([1, 4])).to(dtype)
    upstream = random_upstream(problem)
    actual = answers(target_log_prob, problem, upstream, chunk=Chunk(2, columns, dtype))
    for result, truth in zip(actual, expected_answers(problem, upstream), strict=True):
        assert_near(result, truth, BOUNDS[dtype])


def test_p_of_one_to_the_last_bit_keeps_both_logarithms():
    scores = target_log_prob(torch.ones(1, 1), torch.tensor([[0.0], [40.0], [0.0], [0.0]]), torch.tensor([1]))
    assert scores.log_complement.item() == pytest.approx(torch.log(torch.tensor(3.0)).item() - 40)
    assert scores.log_p.item() == pytest.approx(-3 * torch.tensor(-40.0).exp().item())


@pytest.mark.parametrize("implementation", ["reference", "chunked", None])
def test_no_tokens(implementation):
    problem = make(0, 7).to(torch.float32)
    leaves = problem.leaves()
    scores = target_log_prob(**problem.arguments(leaves, implementation=implementation))
    scores.log_p.sum().backward()
    assert scores.log_p.shape == scores.log_complement.shape == (0,)
    assert all(leaf.grad.shape == leaf.shape and not leaf.grad.any() for leaf in leaves)


def test_frozen_parts_get_no_gradient():
    problem = make(3, 11)
    for live in range(3):
        leaves = [leaf.requires_grad_(index == live) for index, leaf in enumerate(problem.leaves())]
        target_log_prob(**problem.arguments(leaves)).log_complement.sum().backward()
        assert [leaf.grad is not None for leaf in leaves] == [index == live for index in range(3)]


def test_second_derivatives_are_refused():
    problem = make(3, 11)
    leaves = problem.leaves()
    loss = target_log_prob(**problem.arguments(leaves)).log_p.square().sum()
    (gradient,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("reentrant", [True, False])
def test_under_checkpointing(reentrant):
    problem, upstream = make(5, 23), torch.ones(2, 5)

    def checkpointed(hidden, **arguments):
        function = partial(target_log_prob, **arguments)
        return TargetLogProb(*checkpoint(function, hidden, use_reentrant=reentrant))

    for result, truth in zip(
        answers(checkpointed, problem, upstream), expected_answers(problem, upstream), strict=True
    ):
        assert_near(result, truth, 1e-10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": torch.zeros(1, 2, 3)}, r"\[N, H\]"),
        ({"hidden": torch.zeros(2, 4)}, r"\[V, H\]"),
        ({"weight": torch.zeros(1, 3)}, "at least 2"),
        ({"target": torch.zeros(3, dtype=torch.int64)}, "one token a row"),
        ({"target": torch.tensor([0, -100])}, "drop ignored positions"),
        ({"target": torch.tensor([0, 5])}, r"\[0, 5\)"),
        ({"spec": HeadSpec(bias=torch.zeros(4))}, "bias"),
    ],
)
def test_bad_arguments_are_named(change, message):
    good = {"hidden": torch.zeros(2, 3), "weight": torch.zeros(5, 3), "target": torch.tensor([0, 4])}
    target_log_prob(**good)
    with pytest.raises(ValueError, match=message):
        target_log_prob(**{**good, **change})
