"""The unlearning methods by name. Imports no torch, so that the CLI can list them at once."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Method:
    """One way to forget.

    Attributes:
        loss: "module:function" of the per-token forget loss.
        knobs: names in the `unlearn` section of params.yaml that are passed to the loss.
        needs_vocabulary: whether the loss takes the head's vocabulary size.
        retain_term: whether the retain records' NLL is added.
        source: where the method is published.
    """

    loss: str
    source: str
    knobs: tuple[str, ...] = ()
    needs_vocabulary: bool = False
    retain_term: bool = True

    def load(self, settings: dict[str, Any], vocabulary: int) -> Callable[..., Any]:
        """The forget loss as a function of a TargetLogProb, its knobs filled in from `settings`."""
        module, name = self.loss.split(":")
        function = getattr(import_module(module), name)
        bound = {knob: settings[knob] for knob in self.knobs}
        if self.needs_vocabulary:
            bound["vocabulary"] = vocabulary
        return lambda target: function(target, **bound)


METHODS: dict[str, Method] = {
    "unilogit": Method(
        loss="unilogit.losses.unilogit:unilogit_loss",
        source="Vasilev et al. 2025, arXiv 2505.06027",
        knobs=("direction",),
        needs_vocabulary=True,
    ),
    "gradient_ascent": Method(
        loss="unilogit.losses.gradient_ascent:gradient_ascent_loss",
        source="Jang et al. 2023, arXiv 2210.01504",
        retain_term=False,
    ),
}
