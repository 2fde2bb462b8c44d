"""What a study compares: data, models, methods, and where each method may be tuned. Knows nothing of how."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tasks.params import Params, load_params
from unilogit.files import Json, sha256_json
from unilogit.losses.registry import METHODS
from unilogit.training.config import Config, known_method

EXAMPLE = "example"
DEFAULT = "unilogit, as shipped"  # the recipe of params.yaml, with nothing tuned
SMALL = [  # a Llama that learns TOFU from scratch on two cores
    *("train.vocabulary=2048", "train.hidden_size=192", "train.layers=3", "train.epochs=24"),
    "unlearn.rmu.layer=1",
]
SMALL_EXAMPLE = ["unlearn.rmu.layer=1"]
METHODS_COMPARED = (DEFAULT, "unilogit", "grad_diff", "npo", "npo_sam", "simnpo", "undial", "pdu", "jensun", "dpo")
Methods = Annotated[list[str], Field(min_length=1)]


class StudyPlan(Config):
    """All that a study is of; the same plan in the same folder goes on where it was stopped.

    Attributes:
        data: `example`, or a folder with the tables of the hub dataset locuslab/TOFU.
        split: which share of the people is forgotten, in per cent.
        methods: what is compared; "unilogit, as shipped" is the recipe of params.yaml, untuned.
        trials: of each method but that one, on the first seed; no more than there are settings to try.
        rates, epochs, retain_weights: what is tried of unlearn.learning_rate, unlearn.epochs and unlearn.retain_weight.
        seeds: of models and of unlearning; one model is trained for each.
        full, retain_model: given instead of trained: models that learned everybody, and all but who is forgotten.
        params: the file with every knob, and `overrides` of it.
        work: a folder for all that is made.
    """

    data: str = EXAMPLE
    split: Literal["forget01", "forget05", "forget10"] = "forget05"
    methods: Methods = Field(list(METHODS_COMPARED))
    trials: Annotated[int, Field(ge=1)] = 8
    rates: Annotated[list[float], Field(min_length=1)] = Field([1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3])
    epochs: Annotated[list[int], Field(min_length=1)] = Field([6, 12, 24])
    retain_weights: Annotated[list[float], Field(min_length=1)] = Field([1.0, 2.0, 5.0, 10.0])
    seeds: Annotated[list[int], Field(min_length=1)] = Field([1, 2, 3])
    full: str | None = None
    retain_model: str | None = None
    params: Path = Path("params.yaml")
    overrides: list[str] = Field([])
    work: Path = Path("var/study")

    @field_validator("methods")
    @classmethod
    def _methods_are_registered(cls, methods: list[str]) -> list[str]:
        return [known_method(method, DEFAULT) for method in methods]

    @model_validator(mode="after")
    def _models_come_in_pairs(self) -> "StudyPlan":
        if (self.full is None) != (self.retain_model is None):
            raise ValueError("give both models, full and retain_model, or neither: both are trained then")
        if self.full is not None and len(self.seeds) > 1:
            raise ValueError("models that are given are of one seed; name one in seeds")
        return self

    @model_validator(mode="after")
    def _there_are_as_many_settings(self) -> "StudyPlan":
        if self.trials > (settings := len(self.rates) * len(self.epochs) * len(self.retain_weights)):
            raise ValueError(f"{self.trials} trials are more than the {settings} settings there are to try")
        return self

    @property
    def name(self) -> str:
        """What is forgotten, in words."""
        return f"{EXAMPLE if self.data == EXAMPLE else 'TOFU'} {self.split}"

    @property
    def folder(self) -> Path:
        """Where all that is made lies; another for another model, parameters or data."""
        facts = [self.data, self.full, self.retain_model, self.load(0).as_dict()]
        return self.work / f"{self.name.replace(' ', '-').lower()}-{sha256_json(facts)[:8]}"

    @property
    def tuned(self) -> Path:
        """Where trials are written down; another folder for other settings to try, trials or a first seed."""
        tried: Json = [self.trials, self.rates, self.epochs, self.retain_weights, self.seeds[0]]
        return self.folder / f"tuned-{sha256_json(tried)[:8]}"

    def load(self, seed: int, settings: Sequence[str] = ()) -> Params:
        """The parameters of one run.

        Args:
            settings: `section.key=value`, beside those of the plan.
        """
        sizes = SMALL_EXAMPLE if self.data == EXAMPLE else SMALL
        return load_params(
            self.params, [*(sizes if self.full is None else []), *self.overrides, f"seed={seed}", *settings]
        )


def settings_of(method: str, rate: float, epochs: int, retain_weight: float) -> list[str]:
    """What a trial of a method sets; the weight only where the method is published with a retain term."""
    weighs = METHODS[method].retain_term != "none"
    return [
        *(f"unlearn.method={method}", "unlearn.unmoved=continue", "unlearn.min_steps=1"),
        *(f"unlearn.learning_rate={rate:g}", f"unlearn.epochs={epochs}"),
        *([f"unlearn.retain_weight={retain_weight:g}"] if weighs else []),
    ]
