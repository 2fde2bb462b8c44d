"""The Triton element-wise functions against the plain ones: on a GPU, or in Triton's interpreter without."""

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytest.importorskip("triton")

from unilogit.kernels import (  # noqa: E402
    Chunk,
    HeadSpec,
    every_row,
    fused_target_loss,
    target_log_prob,
    triton_blocks,
)
from unilogit.kernels.elementwise import check  # noqa: E402
from unilogit.kernels.prepare import prepare  # noqa: E402

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


@pytest.mark.parametrize(("softcap", "logit_scale"), [(None, None), (4.0, None), (None, 0.5), (4.0, 2.0)])
@pytest.mark.parametrize("dtype", list(BOUNDS))
@pytest.mark.parametrize(("rows", "vocabulary", "columns"), [(1, 2, 2), (5, 37, 13), (3, 4099, 4099)])
def test_equals_the_plain_functions(rows, vocabulary, columns, dtype, softcap, logit_scale):
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator).to(DEVICE, dtype)
        for shape in ((rows, 8), (vocabulary, 8), (vocabulary,))
    )
    target = torch.randint(vocabulary, (rows,), generator=generator).to(DEVICE)
    upstream = torch.rand(2, rows, generator=generator).to(DEVICE)

    def run(implementation):
        leaves, fused_leaves = (
            [tensor.clone().requires_grad_() for tensor in (hidden, weight, bias)] for _ in range(2)
        )
        spec, fused_spec = (
            HeadSpec(tensors[2], softcap, logit_scale, implementation, Chunk(2, columns, dtype))
            for tensors in (leaves, fused_leaves)
        )
        scores = target_log_prob(*leaves[:2], target, spec)
        (scores.log_p * upstream[0] + scores.log_complement * upstream[1]).sum().backward()
        loss = every_row(lambda scores: scores.log_p.exp() - scores.log_complement)
        fused = fused_target_loss(*fused_leaves[:2], target, loss, upstream[0], fused_spec)
        fused.total.backward()
        gradients = [leaf.grad.float() for leaf in leaves + fused_leaves]
        return [scores.log_p, scores.log_complement, fused.per_token, *gradients]

    for actual, expected in zip(run("triton"), run("chunked"), strict=True):
        torch.testing.assert_close(actual, expected, rtol=BOUNDS[dtype], atol=BOUNDS[dtype])


@pytest.mark.parametrize("gap", [-1e4, 1e4, 40.0])
def test_certain_and_impossible_targets_stay_finite(gap):
    weight = torch.zeros(5, 1, device=DEVICE)
    weight[2] = gap
    weight.requires_grad_()
    hidden = torch.ones(1, 1, device=DEVICE, requires_grad=True)
    target = torch.tensor([2], device=DEVICE)
    loss = every_row(lambda scores: scores.log_p - scores.log_complement)
    fused = fused_target_loss(hidden, weight, target, loss, spec=HeadSpec(implementation="triton"))
    fused.total.backward()
    assert fused.total.isfinite()
    assert weight.grad.isfinite().all()
    assert hidden.grad.isfinite().all()
    assert weight.grad[2].item() == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", list(BOUNDS))
def test_passes_the_check_before_first_use(dtype):
    check(triton_blocks, torch.device(DEVICE), dtype)


@pytest.mark.skipif(DEVICE == "cpu", reason="Triton is the choice on CUDA only")
def test_is_the_choice_on_cuda():
    one = torch.ones(1, 1, device=DEVICE)
    head = prepare(one, one.expand(2, 1), torch.zeros(1, dtype=torch.int64, device=DEVICE), HeadSpec())
    assert head.plan.elementwise is triton_blocks
    assert not head.scratch.numel()


def test_refuses_float64():
    one = torch.ones(1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="float32"):
        target_log_prob(one, one.expand(2, 1), torch.zeros(1, dtype=torch.int64), HeadSpec(implementation="triton"))
