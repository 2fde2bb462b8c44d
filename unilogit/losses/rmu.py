"""RMU, representation misdirection (Li et al., ICML 2024, arXiv 2403.03218, section 4).

    forget: E_x [ 1/|y| · Σ_t ‖h(t) − c·u‖² / H ]      retain: E_x [ 1/|y| · Σ_t ‖h(t) − h_ref(t)‖² / H ]

with h(t) what layer ℓ makes of answer token t, H its width, u one random unit vector and h_ref the layer of the
model before unlearning. Dividing by H is what the authors' code does. Published for TOFU (OpenUnlearning):
ℓ = 7, c = 2. All weights are trained here; the paper trains the MLPs of layers ℓ − 2 to ℓ alone.
"""

import torch
from torch import Tensor

from unilogit.losses.answers import Answers


def rmu_loss(answers: Answers, steering: float, seed: int) -> Tensor:
    """Per-example squared distance from the steering vector, shape [E]; u is drawn from `seed`."""
    direction = torch.rand(answers.hidden.shape[1], generator=torch.Generator().manual_seed(seed))
    wanted = (steering * direction / direction.norm()).to(answers.hidden)
    return answers.mean_of_each((answers.hidden - wanted).square().mean(dim=1))


def activation_distance(answers: Answers) -> Tensor:
    """Per-example squared distance from the reference model's activations, shape [E]."""
    return answers.mean_of_each((answers.hidden - answers.reference_hidden).square().mean(dim=1))
