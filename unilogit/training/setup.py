"""The parts of an unlearning run before it begins: what is refused, the examples, the trained model and its loss.

Knows no Trainer and nothing of optimisation.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.tokenisation import Encoded
from unilogit.errors import InputError
from unilogit.losses.registry import METHODS, Method
from unilogit.model import make_scorer
from unilogit.training.config import UnlearnConfig
from unilogit.training.encoding import encode_preferred, encode_set, split_windows
from unilogit.training.examples import PairedExamples
from unilogit.training.idk_answers import draw_idk_answers
from unilogit.training.idle_knobs import idle_knobs, retain_method
from unilogit.training.lora import add_lora, check_further, without_adapter
from unilogit.training.precision import hold_in_float32
from unilogit.training.reference import frozen_copy
from unilogit.training.splices import draw_splices
from unilogit.training.stopping import Pair
from unilogit.training.unlearning_loss import Term, UnlearningLoss
from unilogit.wrappers import weights_are_shared_out

if TYPE_CHECKING:
    from peft import PeftModel

    Trained = PreTrainedModel | PeftModel


def methods_of(config: UnlearnConfig) -> list[Method]:
    """The forget term, and the retain term where there is one.

    Raises:
        InputError: there is no method, or a knob would do nothing.
    """
    if config.method == "none":
        raise InputError("unlearn.method is none, so there is nothing to train")
    if problems := idle_knobs(config):
        raise InputError(*problems)
    retain = retain_method(config)
    return [METHODS[config.method], retain] if retain else [METHODS[config.method]]


def build_examples(
    tokenizer: PreTrainedTokenizerBase,
    config: UnlearnConfig,
    *,
    forget: Sequence[Pair],
    retain: Sequence[Pair],
    neighbours: Sequence[Pair],
    alternatives: Sequence[str],
    targets: Sequence[np.ndarray],
    seed: int,
    max_length: int | None,
) -> PairedExamples:
    """The examples of all epochs; arguments as of UnlearningTrainer.

    Raises:
        InputError: the configuration asks for what is not there, or an answer does not fit in max_length.
    """
    methods = methods_of(config)
    if not forget:
        raise InputError("there is nothing to forget")
    is_retained = len(methods) > 1
    if is_retained and not (retain or neighbours):
        raise InputError("there is nothing to retain; set unlearn.retain_term to none if that is meant")
    if config.neighbour_share and not neighbours:
        raise InputError(
            f"unlearn.neighbour_share is {config.neighbour_share}, but there are no neighbours of the forgotten; "
            "set it to 0"
        )

    preferred: list[Encoded] = []
    if "idk" in methods[0].needs:
        alternatives = draw_idk_answers(len(forget), seed)
    if {"idk", "alternative"} & set(methods[0].needs):
        if len(alternatives) != len(forget):
            raise InputError(
                f"unlearn.method {config.method} needs a better answer for each of the {len(forget)} forget records, "
                f"but there are {len(alternatives)}; add them, or use idk_dpo"
            )
        preferred = encode_preferred(tokenizer, forget, alternatives, max_length=max_length)
    drawn = {"retain": retain if is_retained else ()}
    drawn["neighbour"] = neighbours if is_retained and (config.neighbour_share or not retain) else ()
    encoded = {kind: encode_set(tokenizer, pairs, kind, max_length=max_length) for kind, pairs in drawn.items()}
    forgotten = encode_set(tokenizer, forget, "forget", max_length=max_length)
    if not len(targets) and config.method == "unilogit" and config.target not in ("auto", "uniform"):
        raise InputError(f"unlearn.target is {config.target}, but there are no targets; pass those of find_targets")
    splices: list[list[Encoded]] = []
    if len(targets):
        beginnings = encoded["retain"] or encode_set(tokenizer, retain, "retain", max_length=max_length)
        splices = draw_splices(forgotten, beginnings, seed, max_length)
    examples = PairedExamples(
        forgotten,
        encoded["retain"],
        epochs=config.passes(len(forgotten)),
        batch_size=config.batch_size,
        retain_per_forget=config.retain_per_forget,
        seed=seed,
        neighbours=encoded["neighbour"],
        neighbour_share=config.neighbour_share,
        preferred=preferred,
        splices=splices,
    )
    examples.log_target = split_windows(targets, forgotten)
    return examples


def build_trained_model(
    model: "Trained", config: UnlearnConfig, seed: int, *, starts_apart: bool = False
) -> tuple["Trained", "Trained | None"]:
    """The model as it will be trained: its weights in float32, adapters around it, or the adapter that it has.

    Args:
        starts_apart: training begins with other weights than the model's (`StartingWeights`).

    Returns:
        (trained, reference): reference is the model before unlearning where a loss needs one, else None.

    Raises:
        InputError: the model cannot be trained so.
    """
    if config.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise InputError(
            f"unlearn.gradient_checkpointing is true, but {type(model).__name__} cannot do it; set it to false"
        )
    if methods_of(config)[0].smooths and weights_are_shared_out():
        raise InputError(
            f"unlearn.method {config.method} looks around all weights, which processes cannot share out (FSDP); set"
            " unlearn.sharding to none"
        )
    is_compared = any(method.needs_reference_model for method in methods_of(config))
    if not isinstance(model, PreTrainedModel):
        check_further(model, config)
        return model, frozen_copy(model, widened=()) if is_compared else None
    if config.lora_rank is not None:
        apart = frozen_copy(model) if is_compared and starts_apart else None
        adapted = add_lora(model, config, seed)
        return adapted, apart or (adapted if is_compared else None)
    reference = frozen_copy(model) if is_compared else None
    hold_in_float32(model)
    return model, reference


def empty_model(kind: type[PreTrainedModel], configuration: PreTrainedConfig, config: UnlearnConfig) -> "Trained":
    """A model of the same names as the trained one, to be filled."""
    model = kind(configuration)
    return model if config.lora_rank is None else add_lora(model, config, seed=0)


def build_loss(config: UnlearnConfig, trained: "Trained", reference: "Trained | None") -> UnlearningLoss:
    """The loss of a step.

    Raises:
        InputError: the configuration names a layer that the model does not have.
    """
    methods, scorer = methods_of(config), make_scorer(trained)
    if any("hidden" in method.needs for method in methods) and config.rmu.layer >= scorer.layers:
        raise InputError(
            f"unlearn.rmu.layer is {config.rmu.layer}, but the model's layers are 0 to {scorer.layers - 1}"
        )
    if config.compile:
        scorer.body.compile(dynamic=True)
    terms = [Term(method, method.bind(config)) for method in methods]
    return UnlearningLoss(
        scorer,
        forget=terms[0],
        retain=terms[1] if len(terms) > 1 else None,
        reference=None if reference is None else make_scorer(reference),
        as_reference=nullcontext
        if isinstance(trained, PreTrainedModel) or reference is not trained
        else partial(without_adapter, trained),
        layer=config.rmu.layer,
    )
