"""One-pass losses that look at whole groups of tokens, against full logits and autograd in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear, logsigmoid
from torch.utils.flop_counter import FlopCounterMode

from tests.kernels.problems import assert_near, make
from unilogit.kernels import Chunk, HeadSpec, every_row, fused_target_loss, group_means

BETA = 0.7


def pressed_while_known(groups, mark):
    """−log p of the tokens whose group's mean NLL is below the mark; the others are paused."""

    def loss(target, rows):
        is_known = group_means(-target.log_p.detach(), groups[rows]) < mark
        return torch.where(is_known, -target.log_p, 0.0)

    return loss


def coupled(groups):
    """A loss of each whole group, on each of its tokens, with a gradient through all of them."""
    return lambda target, rows: -logsigmoid(-BETA * group_means(target.log_p, groups[rows])) + target.log_p


def brute_force(problem, sizes, weights, mark=None):
    """The same losses one group at a time; per-token losses and gradients of their weighted sum."""
    leaves = problem.leaves()
    logits = linear(*leaves)
    if problem.softcap is not None:
        logits = problem.softcap * torch.tanh(logits / problem.softcap)
    log_p = logits.log_softmax(dim=1)[torch.arange(len(problem.target)), problem.target]
    values = []
    for answer in log_p.split(sizes) if sizes else ():
        if mark is None:
            values.append(-logsigmoid(-BETA * answer.mean()) + answer)
        elif -answer.mean() < mark:
            values.append(-answer)
        else:
            values.append(0 * answer)
    per_token = torch.cat(values) if values else log_p
    (per_token * weights).sum().backward()
    return [per_token.detach(), *(leaf.grad for leaf in leaves)]


@st.composite
def grouped_problems(draw):
    sizes = draw(st.lists(st.integers(1, 7), max_size=6))
    problem = make(
        sum(sizes),
        draw(st.integers(2, 40)),
        draw(st.integers(1, 5)),
        seed=draw(st.integers(0, 2**31)),
        softcap=draw(st.sampled_from([None, 3.0])),
    )
    chunk = Chunk(draw(st.integers(1, 9)), draw(st.integers(1, 40)), torch.float64)
    return problem, sizes, chunk


def weights_and_groups(sizes):
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
    generator = torch.Generator().manual_seed(0)
    return torch.rand(sum(sizes), dtype=torch.float64, generator=generator), 5 * groups


def one_pass(problem, loss, weights, groups, chunk):
    leaves = problem.leaves()
    result = fused_target_loss(**problem.arguments(leaves, chunk=chunk), loss=loss, weights=weights, groups=groups)
    result.total.backward()
    assert result.total.item() == pytest.approx((result.per_token * weights).sum().item())
    return [result.per_token, *(leaf.grad for leaf in leaves)]


@given(case=grouped_problems(), mark=st.floats(0, 6))
@settings(deadline=None, max_examples=100)
def test_paused_groups(case, mark):
    problem, sizes, chunk = case
    weights, groups = weights_and_groups(sizes)
    results = one_pass(problem, pressed_while_known(groups, mark), weights, groups, chunk)
    for result, truth in zip(results, brute_force(problem, sizes, weights, mark), strict=True):
        assert_near(result, truth, 1e-10)


@given(case=grouped_problems())
@settings(deadline=None, max_examples=100)
def test_a_gradient_through_the_whole_group(case):
    problem, sizes, chunk = case
    weights, groups = weights_and_groups(sizes)
    results = one_pass(problem, coupled(groups), weights, groups, chunk)
    for result, truth in zip(results, brute_force(problem, sizes, weights), strict=True):
        assert_near(result, truth, 1e-10)


@pytest.mark.parametrize("sizes", [[], [1], [11], [11, 1], [1, 11]])
def test_no_tokens_one_group_and_groups_longer_than_the_chunk(sizes):
    problem, chunk = make(sum(sizes), 17), Chunk(3, 5, torch.float64)
    weights, groups = weights_and_groups(sizes)
    results = one_pass(problem, coupled(groups), weights, groups, chunk)
    for result, truth in zip(results, brute_force(problem, sizes, weights), strict=True):
        assert_near(result, truth, 1e-10)


@pytest.mark.parametrize(("mark", "pressed"), [(0.0, 0), (2.5, 4), (1e9, 10)])
def test_a_chunk_that_is_paused_costs_no_gradient_products(mark, pressed):
    """Groups of 4, 3 and 3 tokens in a chunk each; the first is known (NLL near 0), the others are not."""
    vocabulary, width = 37, 6
    groups = torch.tensor([0] * 4 + [1] * 3 + [2] * 3)
    weight = torch.randn(vocabulary, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.arange(10)
    hidden = torch.where(groups[:, None] == 0, 5.0, -5.0) * weight[target] / weight[target].norm(dim=1, keepdim=True)
    leaves = [hidden.requires_grad_(), weight.requires_grad_()]
    spec = HeadSpec(chunk=Chunk(4, 9, torch.float64))
    with FlopCounterMode(display=False) as counter:
        loss = pressed_while_known(groups, mark)
        fused_target_loss(*leaves, target, loss, spec=spec, groups=groups).total.backward()
    assert counter.get_total_flops() == (10 + 2 * pressed) * 2 * vocabulary * width
    assert [bool(row.any()) for row in leaves[0].grad] == [True] * pressed + [False] * (10 - pressed)


@pytest.mark.parametrize(
    ("groups", "message"), [(torch.tensor([0]), "one a row"), (torch.tensor([1, 0]), "must not decrease")]
)
def test_bad_groups_are_named(groups, message):
    with pytest.raises(ValueError, match=message):
        fused_target_loss(
            torch.zeros(2, 3),
            torch.zeros(5, 3),
            torch.tensor([0, 4]),
            every_row(lambda scores: scores.log_p),
            groups=groups,
        )
