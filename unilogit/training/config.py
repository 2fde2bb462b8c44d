"""What a training run is told: every knob with its default.

Knows ranges and names, not what the knobs do to a model. params.yaml's sections hold the same defaults.
"""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from unilogit.losses.dpo import Dpo
from unilogit.losses.npo import Npo
from unilogit.losses.npo_sam import NpoSam
from unilogit.losses.pdu import Pdu
from unilogit.losses.registry import METHODS
from unilogit.losses.rmu import Rmu
from unilogit.losses.satimp import SatImp
from unilogit.losses.simnpo import SimNpo
from unilogit.losses.undial import Undial
from unilogit.losses.unilogit import Unilogit
from unilogit.losses.wga import Wga

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


def _or_say(allowed: str) -> WrapValidator:
    """For a union of types: one sentence when none of them fits, not one for each."""

    def check(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"one of: {allowed}") from None

    return WrapValidator(check)


class Config(BaseModel):
    """Frozen; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainConfig(Config):
    """A small Llama from scratch: the example's model and retain models like it.

    Attributes:
        vocabulary: entries of the tokenizer at the most, the 256 bytes among them.
        hidden_size: width; each head has an even share of it.
        layers, heads: how many.
        epochs: passes over the corpus.
        batch_size: examples in a step.
        learning_rate: at its height; it falls as a cosine.
    """

    vocabulary: Annotated[int, Field(ge=300)] = 512
    hidden_size: PositiveInt = 128
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    epochs: PositiveInt = 36
    batch_size: PositiveInt = 16
    learning_rate: PositiveFloat = 3e-3

    @field_validator("heads")
    @classmethod
    def _heads_divide_hidden_size(cls, heads: int, info: ValidationInfo) -> int:
        hidden_size = info.data.get("hidden_size")
        if hidden_size and (hidden_size % heads or hidden_size // heads % 2):
            raise ValueError(f"must divide hidden_size ({hidden_size}) into heads of even size")
        return heads


def known_method(method: str, *words: str) -> str:
    """`method`, if it is registered or one of `words`; else a ValueError that lists them."""
    if method not in (*METHODS, *words):
        raise ValueError(f"one of: {', '.join([*sorted(METHODS), *words])}")
    return method


Targets = Annotated[
    Literal["all-linear"] | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)],
    _or_say("all-linear, a list of modules' names"),
]


class UnlearnConfig(Config):
    """One unlearning run; `UnlearnConfig(method="npo")` has every default.

    Attributes:
        method: a name in METHODS; "none" leaves the model as it is.
        target: what `unilogit` drives tokens to: 1/V each ("uniform"), or each to its own, by a source that
            `find_targets` measures; "auto" is the best one, or 1/V where the trainer is given no targets.
        epochs: passes over the forget set at the most, or as many as `min_steps` takes; with unseen people to compare
            with, it stops once forgotten and retention has recovered.
        min_steps: optimiser steps that a run has at its disposal, however few records there are to forget.
        checkpoint_minutes: between two checkpoints at the least, which is what a kill costs at the most; each is three
            times as large as what is trained.
        learning_rate: at the start; it falls linearly to 0. "auto" finds it in the first steps (`RateSearch`).
        unmoved: whether a run that hardly forgets (`why_unmoved`) stops with an error, or goes on.
        batch_size: forget examples in a step, over all processes.
        accumulation: parts that a step's batch is worked through in; "auto": as few as memory holds (`fewest_parts`).
        retain_term: what holds retain answers; "published" is the method's own.
        retain_per_forget: retain examples beside each forget example.
        retain_weight: of the retain term beside the forget term.
        retain_recovery: share of the retain probability before unlearning that has to be back to stop.
        pause_forgotten: press only on examples still likelier than unseen people's, where there are unseen people.
        neighbour_share: of retain examples, drawn from neighbours of the forgotten, which have to be there.
        lora_rank: of new adapters that are trained instead of all weights; None trains all weights, or the adapter
            that the model has.
        lora_alpha: an adapter adds alpha / rank · B·A; None is twice the rank.
        lora_targets: the modules that have one, by the last part of their names or more of it; "all-linear" is every
            linear layer but the head.
        bf16: compute in bfloat16; weights that are trained are held in float32. "auto": where the device
            multiplies bfloat16 natively (CUDA) and the checkpoint is 16-bit.
        gradient_checkpointing: keep fewer activations and compute them again.
        compile: torch.compile the model's body.
        deterministic: the same bits each time; None: unless on a GPU.
        processes: that share the work, one a GPU; "auto" is one for each GPU.
        sharding: how processes hold the weights: each a copy ("none"), or each a part ("fsdp"); "auto" shards
            where one GPU cannot hold what training needs.
        unilogit, npo, …: a method's own knobs, by its name; dpo is idk_dpo's too, and rmu.layer that of the retain
            term "activations".
    """

    method: str = "unilogit"
    target: Literal["auto", "uniform", "base", "neighbours", "unseen"] = "auto"
    epochs: PositiveInt = 20
    min_steps: PositiveInt = 96
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 5.0
    learning_rate: Annotated[Literal["auto"] | PositiveFloat, _or_say("auto, a number above 0")] = 1.5e-3
    unmoved: Literal["stop", "continue"] = "stop"
    batch_size: PositiveInt = 8
    accumulation: Annotated[Literal["auto"] | PositiveInt, _or_say("auto, a whole number above 0")] = "auto"
    retain_term: Literal["published", "nll", "kl", "jsd", "activations", "none"] = "published"
    retain_per_forget: Annotated[int, Field(ge=0)] = 2
    retain_weight: Annotated[float, Field(ge=0)] = 5.0
    retain_recovery: Annotated[float, Field(ge=0, le=1)] = 0.98
    pause_forgotten: bool = True
    neighbour_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    lora_rank: PositiveInt | None = None
    lora_alpha: PositiveFloat | None = None
    lora_targets: Annotated[Literal["all-linear"] | Targets, _or_say("all-linear, a list of modules' names")] = (
        "all-linear"
    )
    bf16: Annotated[Literal["auto"] | bool, _or_say("auto, true, false")] = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    deterministic: bool | None = None
    processes: Annotated[Literal["auto"] | PositiveInt, _or_say("auto, a whole number above 0")] = "auto"
    sharding: Literal["auto", "none", "fsdp"] = "auto"
    unilogit: Unilogit = Unilogit()
    npo: Npo = Npo()
    npo_sam: NpoSam = NpoSam()
    simnpo: SimNpo = SimNpo()
    dpo: Dpo = Dpo()
    undial: Undial = Undial()
    rmu: Rmu = Rmu()
    wga: Wga = Wga()
    satimp: SatImp = SatImp()
    pdu: Pdu = Pdu()

    def passes(self, forgotten: int) -> int:
        """How often each of so many forget examples is met at the most."""
        return max(self.epochs, -(-self.min_steps * self.batch_size // max(1, forgotten)))

    @field_validator("method")
    @classmethod
    def _method_is_registered(cls, method: str) -> str:
        return known_method(method, "none")

    @field_validator("accumulation")
    @classmethod
    def _accumulation_divides_batch_size(
        cls, accumulation: Literal["auto"] | int, info: ValidationInfo
    ) -> Literal["auto"] | int:
        batch_size = info.data.get("batch_size")
        if batch_size and accumulation != "auto" and batch_size % accumulation:
            raise ValueError(f"must divide batch_size ({batch_size})")
        return accumulation
