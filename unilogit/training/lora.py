"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) with PEFT, which is an optional extra."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from unilogit.errors import InputError

if TYPE_CHECKING:
    from peft import PeftModel


def add_lora(model: PreTrainedModel, rank: int, seed: int) -> "PeftModel":
    """A PEFT model around `model` whose adapters on all linear layers but the head are what is trained.

    Adapters are float32, and at first add nothing; all else is frozen and stays in its dtype. An adapter adds
    2·B·A, with A drawn from `seed` and B zero.

    Raises:
        InputError: PEFT is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("unlearn.lora_rank: needs PEFT; pip install 'unilogit[lora]', or set it to null") from None
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted: PeftModel = get_peft_model(model, config)
    return adapted


@contextmanager
def without_adapter(model: "PeftModel") -> Iterator[None]:
    """The model as it was before unlearning: its adapters do nothing, nor does dropout."""
    was_training = model.training
    model.eval()
    try:
        with model.disable_adapter():
            yield
    finally:
        model.train(was_training)
