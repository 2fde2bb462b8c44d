"""RMU, representation misdirection (Li et al., ICML 2024, arXiv 2403.03218, section 4).

    forget: E_x [ 1/|y| · Σ_t ‖h(t) − c·u‖² / H ]      retain: E_x [ 1/|y| · Σ_t ‖h(t) − h_ref(t)‖² / H ]

with h(t) what layer ℓ makes of answer token t, H its width, u one random unit vector and h_ref the layer of the
model before unlearning. Dividing by H is what the authors' code does. All weights are trained here; the paper
trains the MLPs of layers ℓ − 2 to ℓ alone.
"""

from typing import TYPE_CHECKING

from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from unilogit.losses.answers import Answers


@dataclass(frozen=True, config=STRICT)
class Rmu:
    """Knobs of RMU, as OpenUnlearning publishes them for TOFU.

    Attributes:
        layer: ℓ, counted from 0; the retain term on activations sees the same layer.
        steering: c, the length of the vector that activations are driven to.
        seed: that u is drawn from.
    """

    layer: NonNegativeInt = 7
    steering: Positive = 2.0
    seed: NonNegativeInt = 0


def rmu_loss(answers: "Answers", knobs: Rmu) -> "Tensor":
    """Per-example squared distance from the steering vector, shape [E]."""
    import torch

    direction = torch.rand(answers.hidden.shape[1], generator=torch.Generator().manual_seed(knobs.seed))
    aim = (knobs.steering * direction / direction.norm()).to(answers.hidden)
    return answers.mean_by_example((answers.hidden - aim).square().mean(dim=1))


def activation_distance(answers: "Answers") -> "Tensor":
    """Per-example squared distance from the reference model's activations, shape [E]."""
    return answers.mean_by_example((answers.hidden - answers.reference_hidden).square().mean(dim=1))
