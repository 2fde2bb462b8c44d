"""The Triton element-wise functions against the plain ones: on a GPU, or in Triton's interpreter without."""

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytest.importorskip("triton")

from unilogit.kernels import Chunk, every_row, fused_target_loss, target_log_prob  # noqa: E402

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
    cut = Chunk(2, columns, dtype)

    def run(implementation):
        leaves = [part.clone().requires_grad_() for part in (hidden, weight, bias)]
        scores = target_log_prob(
            *leaves[:2], target, leaves[2], softcap, logit_scale, implementation=implementation, chunk=cut
        )
        (scores.log_p * upstream[0] + scores.log_complement * upstream[1]).sum().backward()
        more = [part.clone().requires_grad_() for part in (hidden, weight, bias)]
        fused = fused_target_loss(
            *more[:2],
            target,
            every_row(lambda found: found.log_p.exp() - found.log_complement),
            upstream[0],
            more[2],
            softcap,
            logit_scale,
            implementation=implementation,
            chunk=cut,
        )
        fused.total.backward()
        return [scores.log_p, scores.log_complement, fused.per_token, *(leaf.grad.float() for leaf in leaves + more)]

    for actual, expected in zip(run("triton"), run("chunked"), strict=True):
        torch.testing.assert_close(actual, expected, rtol=BOUNDS[dtype], atol=BOUNDS[dtype])


@pytest.mark.parametrize("gap", [-1e4, 1e4, 40.0])
def test_certain_and_impossible_targets_stay_finite(gap):
    weight = torch.zeros(5, 1, device=DEVICE)
    weight[2] = gap
    weight.requires_grad_()
    hidden = torch.ones(1, 1, device=DEVICE, requires_grad=True)
    target = torch.tensor([2], device=DEVICE)
    fused = fused_target_loss(
        hidden, weight, target, every_row(lambda found: found.log_p - found.log_complement), implementation="triton"
    )
    fused.total.backward()
    assert fused.total.isfinite()
    assert weight.grad.isfinite().all()
    assert hidden.grad.isfinite().all()
    assert weight.grad[2].item() == pytest.approx(1.0)


def test_refuses_float64():
    one = torch.ones(1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="float32"):
        target_log_prob(one, one.expand(2, 1), torch.zeros(1, dtype=torch.int64), implementation="triton")
