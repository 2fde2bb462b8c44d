"""Random problems for the kernels' tests, and the float64 reference's answer to each."""

from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from unilogit.kernels import HeadSpec, reference
from unilogit.kernels.reference import TargetLogProb


@dataclass
class Problem:
    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    target: Tensor
    softcap: float | None = None
    logit_scale: float | None = None

    def to(self, dtype):
        return replace(
            self,
            hidden=self.hidden.to(dtype),
            weight=self.weight.to(dtype),
            bias=None if self.bias is None else self.bias.to(dtype),
        )

    def leaves(self):
        """Fresh leaves: hidden, weight and, where there is one, bias."""
        tensors = (self.hidden, self.weight, self.bias)
        return [tensor.clone().requires_grad_() for tensor in tensors if tensor is not None]

    def arguments(self, leaves, **options):
        """Keyword arguments of both public functions; options are of HeadSpec."""
        bias = leaves[2] if len(leaves) > 2 else None
        spec = HeadSpec(bias, self.softcap, self.logit_scale, **options)
        return {"hidden": leaves[0], "weight": leaves[1], "target": self.target, "spec": spec}


def make(rows, vocabulary, width=6, *, seed=0, scale=1.0, bias=True, softcap=None, logit_scale=None):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    return Problem(
        random(rows, width),
        scale * random(vocabulary, width),
        scale * random(vocabulary) if bias else None,
        torch.randint(vocabulary, (rows,), generator=generator),
        softcap,
        logit_scale,
    )


@st.composite
def problems(draw):
    return make(
        draw(st.integers(0, 9)),
        draw(st.one_of(st.integers(2, 5), st.integers(2, 131))),
        draw(st.integers(1, 7)),
        seed=draw(st.integers(0, 2**31)),
        scale=draw(st.sampled_from([1e-3, 1.0, 10.0])),
        bias=draw(st.booleans()),
        softcap=draw(st.sampled_from([None, 3.0, 30.0])),
        logit_scale=draw(st.sampled_from([None, 0.25, 1 / 13])),
    )


def logit_problem(logits, target):
    """A problem whose logits are given exactly: hidden is the identity."""
    return Problem(torch.eye(len(logits), dtype=torch.float64), logits.double().T.contiguous(), None, target)


def true_scores(**arguments):
    """The reference, but exact where p → 1 (there it rounds log p to 0)."""
    scores = reference.target_log_prob(**arguments)
    margin = scores.log_p - scores.log_complement
    return TargetLogProb(torch.nn.functional.logsigmoid(margin), torch.nn.functional.logsigmoid(-margin))


def assert_near(actual, expected, bound):
    """Within `bound` of the expected tensor's largest magnitude, or of 1 where that is larger; all finite."""
    assert actual.shape == expected.shape
    assert torch.isfinite(actual).all()
    if expected.numel():
        scale = max(1.0, expected.abs().max().item())
        assert (actual.double() - expected.double()).abs().max().item() <= bound * scale
