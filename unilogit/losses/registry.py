"""The unlearning methods and retain terms by name: what each needs, where it is published, its own knobs.

Nothing here imports torch before a loss is computed: most commands read the knobs and need no model.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Literal

from unilogit.losses.ceu import ceu_loss
from unilogit.losses.dpo import Dpo, dpo_loss
from unilogit.losses.gradient_ascent import gradient_ascent_loss
from unilogit.losses.jensun import jensen_shannon_loss, jensun_loss
from unilogit.losses.kl_to_reference import kl_to_reference_loss
from unilogit.losses.nll import nll_loss
from unilogit.losses.npo import Npo, npo_loss
from unilogit.losses.npo_sam import NpoSam
from unilogit.losses.pdu import Pdu, pdu_loss
from unilogit.losses.rmu import Rmu, activation_distance, rmu_loss
from unilogit.losses.satimp import SatImp, satimp_loss
from unilogit.losses.simnpo import SimNpo, simnpo_loss
from unilogit.losses.undial import Undial, undial_loss
from unilogit.losses.unilogit import Unilogit, unilogit_loss
from unilogit.losses.wga import Wga, wga_loss

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import Tensor

    from unilogit.losses.answers import Answers
    from unilogit.training.config import UnlearnConfig

Need = Literal[
    "log_p",  # log p and log(1 − p) of each answer token
    "logits",  # whole rows of logits, a few tokens at a time
    "hidden",  # activations of layer rmu.layer
    "reference",  # the same of the model before unlearning: of log_p its log p, measured before training
    "alternative",  # a better answer from the record, scored too
    "idk",  # a way of saying "I don't know", scored too
]


@dataclass(frozen=True)
class Method:
    """One way to forget, or one way to retain.

    Attributes:
        loss: a function of Answers, and of `knobs` where the method has any.
        source: where it is published.
        knobs: the dataclass of its own knobs; None when it has none.
        section: the field of UnlearnConfig that holds them.
        needs: what the trainer must provide in the Answers.
        unit: what the loss has a value for; the trainer takes the mean over all of a step's.
        retain_term: the published retain term, a name in RETAIN_TERMS or "none".
        smooths: its steps take the forget term where it is highest within its knob `radius` (`SmoothedSteps`).
        limits_retain: its knobs are not the loss's, but hold the retain term under a limit (`DualAscent`).
    """

    loss: "Callable[..., Tensor]"
    source: str
    knobs: "type[DataclassInstance] | None" = None
    section: str = ""
    needs: tuple[Need, ...] = ("log_p",)
    unit: Literal["token", "example"] = "token"
    retain_term: str = "nll"
    limits_retain: bool = False
    smooths: bool = False

    @property
    def knob_names(self) -> tuple[str, ...]:
        """Paths of its knobs within UnlearnConfig: `npo.beta`."""
        return () if self.knobs is None else tuple(f"{self.section}.{field.name}" for field in fields(self.knobs))

    @property
    def one_pass(self) -> bool:
        """Whether a token's loss depends on its own log p and log(1 − p) alone."""
        return self.needs == ("log_p",) and self.unit == "token"

    @property
    def needs_reference_log_p(self) -> bool:
        """Whether it compares with log p of the given answers under the model before unlearning: numbers."""
        return "reference" in self.needs and "log_p" in self.needs

    @property
    def needs_reference_model(self) -> bool:
        """Whether it compares with more than that, and the model before unlearning has to run beside."""
        return "reference" in self.needs and "log_p" not in self.needs

    def bind(self, config: "UnlearnConfig") -> "Callable[[Answers], Tensor]":
        """The loss as a function of Answers alone, with the knobs that `config` holds."""
        return (
            self.loss
            if self.knobs is None or self.limits_retain
            else partial(self.loss, knobs=getattr(config, self.section))
        )


METHODS: dict[str, Method] = {
    "unilogit": Method(
        loss=unilogit_loss,
        source="Vasilev et al. 2025, arXiv 2505.06027",
        knobs=Unilogit,
        section="unilogit",
    ),
    "gradient_ascent": Method(
        loss=gradient_ascent_loss,
        source="Jang et al. 2023, arXiv 2210.01504",
        retain_term="none",
    ),
    "grad_diff": Method(
        loss=gradient_ascent_loss,
        source="Liu et al. 2022, arXiv 2203.12817",
    ),
    "kl_to_reference": Method(
        loss=gradient_ascent_loss,
        source="Maini et al. 2024 (KL minimisation), arXiv 2401.06121",
        retain_term="kl",
    ),
    "npo": Method(
        loss=npo_loss,
        source="Zhang et al. 2024, arXiv 2404.05868",
        knobs=Npo,
        section="npo",
        needs=("log_p", "reference"),
        unit="example",
    ),
    "npo_sam": Method(
        loss=npo_loss,
        source="Fan et al. 2025, arXiv 2502.05374",
        knobs=NpoSam,
        section="npo_sam",
        needs=("log_p", "reference"),
        unit="example",
        smooths=True,
    ),
    "simnpo": Method(
        loss=simnpo_loss,
        source="Fan et al. 2024, arXiv 2410.07163",
        knobs=SimNpo,
        section="simnpo",
        unit="example",
    ),
    "dpo": Method(
        loss=dpo_loss,
        source="Rafailov et al. 2023, arXiv 2305.18290",
        knobs=Dpo,
        section="dpo",
        needs=("log_p", "reference", "alternative"),
        unit="example",
    ),
    "idk_dpo": Method(
        loss=dpo_loss,
        source="Maini et al. 2024, arXiv 2401.06121",
        knobs=Dpo,
        section="dpo",
        needs=("log_p", "reference", "idk"),
        unit="example",
    ),
    "undial": Method(
        loss=undial_loss,
        source="Dong et al. 2025, arXiv 2402.10052",
        knobs=Undial,
        section="undial",
        needs=("logits", "reference"),
        retain_term="none",
    ),
    "rmu": Method(
        loss=rmu_loss,
        source="Li et al. 2024, arXiv 2403.03218",
        knobs=Rmu,
        section="rmu",
        needs=("hidden",),
        unit="example",
        retain_term="activations",
    ),
    "wga": Method(
        loss=wga_loss,
        source="Wang et al. 2025, arXiv 2502.19301",
        knobs=Wga,
        section="wga",
    ),
    "satimp": Method(
        loss=satimp_loss,
        source="Yang et al. 2025, arXiv 2505.11953",
        knobs=SatImp,
        section="satimp",
    ),
    "ceu": Method(
        loss=ceu_loss,
        source="Yang 2025, arXiv 2503.01224",
        retain_term="none",
    ),
    "pdu": Method(
        loss=pdu_loss,
        source="Entesari et al. 2025, arXiv 2506.05314",
        knobs=Pdu,
        section="pdu",
        needs=("logits",),
        limits_retain=True,
    ),
    "jensun": Method(
        loss=jensun_loss,
        source="Singh et al. 2025, arXiv 2509.02820",
        needs=("log_p", "idk"),
        unit="example",
        retain_term="jsd",
    ),
}

RETAIN_TERMS: dict[str, Method] = {
    "nll": Method(
        loss=nll_loss,
        source="Liu et al. 2022, arXiv 2203.12817",
    ),
    "kl": Method(
        loss=kl_to_reference_loss,
        source="Maini et al. 2024, arXiv 2401.06121",
        needs=("logits", "reference"),
    ),
    "jsd": Method(
        loss=jensen_shannon_loss,
        source="Singh et al. 2025, arXiv 2509.02820",
        needs=("logits", "reference"),
    ),
    "activations": Method(
        loss=activation_distance,
        source="Li et al. 2024, arXiv 2403.03218",
        needs=("hidden", "reference"),
        unit="example",
    ),
}
