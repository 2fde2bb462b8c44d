"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) with PEFT, which is an optional extra.

Knows which adapters a configuration asks for, new ones or a given one trained further; not how they lie in a folder.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from unilogit.adapters import NAME, refuse_tied
from unilogit.errors import InputError
from unilogit.training.config import UnlearnConfig
from unilogit.training.precision import HALF

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel


def add_lora(model: PreTrainedModel, config: UnlearnConfig, seed: int) -> "PeftModel":
    """A PEFT model around `model` whose adapters are what is trained; `config.lora_rank` is not None.

    Adapters are float32, and at first add nothing; all else is frozen and stays in its dtype. An adapter of rank r adds
    alpha / r · B·A, with A drawn from `seed` and B zero.

    Raises:
        InputError: PEFT is not installed, or a target is no module of the model that can have an adapter.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("unlearn.lora_rank: needs PEFT; pip install 'unilogit[lora]', or set it to null") from None
    assert config.lora_rank is not None
    if config.lora_targets != "all-linear":
        _check_targets(model, config.lora_targets)
    torch.manual_seed(seed)
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank if config.lora_alpha is None else config.lora_alpha,  # type: ignore[arg-type]
        target_modules=config.lora_targets,
        task_type="CAUSAL_LM",
    )
    adapted: PeftModel = get_peft_model(model, settings)
    refuse_tied(adapted, "unlearn.lora_targets: ")
    return adapted


def _check_targets(model: PreTrainedModel, targets: Sequence[str]) -> None:
    kinds = {name: isinstance(part, nn.Linear | nn.Embedding | Conv1D) for name, part in model.named_modules()}
    there = sorted({name.rpartition(".")[2] for name, can_have in kinds.items() if can_have})
    for target in targets:
        matched = [can_have for name, can_have in kinds.items() if name == target or name.endswith(f".{target}")]
        if not matched or not all(matched):
            raise InputError(
                f"unlearn.lora_targets: {target} is no module of {type(model).__name__} that can have an adapter; there"
                f" are {', '.join(there)}"
            )


def check_further(model: "PeftModel", config: UnlearnConfig) -> None:
    """Refuse what cannot be when a given adapter is trained further: it has its own rank, alpha and targets.

    Raises:
        InputError: the configuration says others, or the adapter has more than low-rank matrices in 16 bits.
    """
    own, problems = cast("LoraConfig", model.peft_config[NAME]), []
    asked = {"rank": config.lora_rank, "alpha": config.lora_alpha}
    there = {"rank": own.r, "alpha": own.lora_alpha}
    for name, value in asked.items():
        if value not in (None, there[name]):
            problems.append(
                f"unlearn.lora_{name} is {value}, but that of the adapter, which is trained further, is {there[name]};"
                " set it to null"
            )
    targets = own.target_modules if isinstance(own.target_modules, str) else sorted(own.target_modules or ())
    if config.lora_targets != "all-linear" and sorted(config.lora_targets) != targets:
        problems.append(
            f"unlearn.lora_targets is {config.lora_targets}, but those of the adapter, which is trained further, are"
            f" {targets}; set it to all-linear, which leaves them"
        )
    if any(parameter.requires_grad and parameter.dtype in HALF for parameter in model.parameters()):
        problems.append(
            "the adapter has whole modules or biases of a base of 16 bits as well, and so cannot be trained further;"
            " set register.save to merged"
        )
    if problems:
        raise InputError(*problems)


@contextmanager
def without_adapter(model: "PeftModel") -> Iterator[None]:
    """The model as it was before new adapters were trained: they do nothing, nor does dropout."""
    was_training = model.training
    model.eval()
    try:
        with model.disable_adapter():
            yield
    finally:
        model.train(was_training)
