"""The unlearning methods and retain terms by name. Imports no torch, so that the CLI can list them at once."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any, Literal

Need = Literal[
    "log_p",  # log p and log(1 − p) of each answer token
    "logits",  # whole rows of logits, a few tokens at a time
    "hidden",  # activations of layer rmu.layer
    "reference",  # the same of the model before unlearning
    "alternative",  # a better answer from the record, scored too
    "idk",  # a way of saying "I don't know", scored too
]


@dataclass(frozen=True)
class Method:
    """One way to forget, or one way to retain.

    Attributes:
        loss: "module:function" of the loss: a function of Answers and knobs.
        source: where it is published.
        knobs: paths in the `unlearn` section of params.yaml that belong to it.
        needs: what the trainer must provide in the Answers.
        per: what the loss has a value for; the trainer takes the mean over all of a step's.
        retain_term: the published retain term, a name in RETAIN_TERMS or "none".
    """

    loss: str
    source: str
    knobs: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ("log_p",)
    per: Literal["token", "example"] = "token"
    retain_term: str = "nll"

    @property
    def one_pass(self) -> bool:
        """Whether a token's loss depends on its own log p and log(1 − p) alone."""
        return self.needs == ("log_p",) and self.per == "token"

    def load(self, settings: dict[str, Any], **facts: Any) -> Callable[..., Any]:
        """The loss as a function of Answers alone.

        Args:
            settings: the `unlearn` section of params.yaml; its knobs are bound to the arguments of their name.
            facts: further arguments, for the losses that have them: vocabulary, seed.
        """
        module, name = self.loss.split(":")
        function = getattr(import_module(module), name)
        values = facts | {path.split(".")[-1]: _value(settings, path) for path in self.knobs}
        bound = {name: values[name] for name in signature(function).parameters if name in values}
        return lambda answers: function(answers, **bound)


def _value(settings: Any, path: str) -> Any:
    for part in path.split("."):
        settings = settings[part]
    return settings


METHODS: dict[str, Method] = {
    "unilogit": Method(
        loss="unilogit.losses.unilogit:unilogit_loss",
        source="Vasilev et al. 2025, arXiv 2505.06027",
        knobs=("direction",),
    ),
    "gradient_ascent": Method(
        loss="unilogit.losses.gradient_ascent:gradient_ascent_loss",
        source="Jang et al. 2023, arXiv 2210.01504",
        retain_term="none",
    ),
    "grad_diff": Method(
        loss="unilogit.losses.gradient_ascent:gradient_ascent_loss",
        source="Liu et al. 2022, arXiv 2203.12817",
    ),
    "kl_to_reference": Method(
        loss="unilogit.losses.gradient_ascent:gradient_ascent_loss",
        source="Maini et al. 2024 (KL minimisation), arXiv 2401.06121",
        retain_term="kl",
    ),
    "npo": Method(
        loss="unilogit.losses.npo:npo_loss",
        source="Zhang et al. 2024, arXiv 2404.05868",
        knobs=("npo.beta",),
        needs=("log_p", "reference"),
        per="example",
    ),
    "simnpo": Method(
        loss="unilogit.losses.simnpo:simnpo_loss",
        source="Fan et al. 2024, arXiv 2410.07163",
        knobs=("simnpo.beta", "simnpo.delta", "simnpo.gamma"),
        per="example",
    ),
    "dpo": Method(
        loss="unilogit.losses.dpo:dpo_loss",
        source="Rafailov et al. 2023, arXiv 2305.18290",
        knobs=("dpo.beta",),
        needs=("log_p", "reference", "alternative"),
        per="example",
    ),
    "idk_dpo": Method(
        loss="unilogit.losses.dpo:dpo_loss",
        source="Maini et al. 2024, arXiv 2401.06121",
        knobs=("dpo.beta",),
        needs=("log_p", "reference", "idk"),
        per="example",
    ),
    "undial": Method(
        loss="unilogit.losses.undial:undial_loss",
        source="Dong et al. 2025, arXiv 2402.10052",
        knobs=("undial.beta",),
        needs=("logits", "reference"),
        retain_term="none",
    ),
    "rmu": Method(
        loss="unilogit.losses.rmu:rmu_loss",
        source="Li et al. 2024, arXiv 2403.03218",
        knobs=("rmu.layer", "rmu.steering"),
        needs=("hidden",),
        per="example",
        retain_term="activations",
    ),
    "wga": Method(
        loss="unilogit.losses.wga:wga_loss",
        source="Wang et al. 2025, arXiv 2502.19301",
        knobs=("wga.beta",),
    ),
    "satimp": Method(
        loss="unilogit.losses.satimp:satimp_loss",
        source="Yang et al. 2025, arXiv 2505.11953",
        knobs=("satimp.beta1", "satimp.beta2"),
    ),
    "ceu": Method(
        loss="unilogit.losses.ceu:ceu_loss",
        source="Yang 2025, arXiv 2503.01224",
        retain_term="none",
    ),
}

RETAIN_TERMS: dict[str, Method] = {
    "nll": Method(
        loss="unilogit.losses.nll:nll_loss",
        source="Liu et al. 2022, arXiv 2203.12817",
    ),
    "kl": Method(
        loss="unilogit.losses.kl_to_reference:kl_to_reference_loss",
        source="Maini et al. 2024, arXiv 2401.06121",
        needs=("logits", "reference"),
    ),
    "activations": Method(
        loss="unilogit.losses.rmu:activation_distance",
        source="Li et al. 2024, arXiv 2403.03218",
        knobs=("rmu.layer",),
        needs=("hidden", "reference"),
        per="example",
    ),
}
