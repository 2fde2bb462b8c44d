"""NPO with smoothing: NPO whose gradient is taken where it is worst nearby (Fan et al., ICML 2025, arXiv 2502.05374).

    min_θ  max_{‖δ‖₂ ≤ ρ} L_NPO(θ + δ) + λ · L_retain(θ),     δ ≈ ρ · ∇L_NPO(θ) / ‖∇L_NPO(θ)‖₂

Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412) of the forget term alone: a little fine-tuning, which
moves the weights a little, is to bring back less. The loss is NPO's; the steps are unilogit/training/smoothing.py's.
"""

from pydantic.dataclasses import dataclass

from unilogit.losses.knobs import STRICT, Positive
from unilogit.losses.npo import Npo


@dataclass(frozen=True, config=STRICT)
class NpoSam(Npo):
    """NPO's knob, and how far it looks.

    Attributes:
        radius: ρ, Euclidean distance over all trained weights, as published for MUSE.
    """

    radius: Positive = 0.01
