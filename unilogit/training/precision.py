"""In which dtype weights are held: float32 while they are trained, the checkpoint's own before and after.

Most of AdamW's steps are smaller than bfloat16 or float16 can add to a weight, and would be lost.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unilogit.errors import InputError
from unilogit.wrappers import has_weights

HALF = (torch.bfloat16, torch.float16)


class OwnDtypes:
    """The dtype of each floating-point parameter and buffer of a model, and of its configuration.

    Args:
        model: as it was loaded.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.by_name = {name: tensor.dtype for name, tensor in _tensors(model) if tensor.is_floating_point()}
        self.configured = model.config.dtype

    @property
    def half(self) -> bool:
        """Whether the model is one of 16 bits."""
        return any(dtype in HALF for dtype in self.by_name.values())

    def restore(self, model: PreTrainedModel) -> None:
        """Give them back, in place; `model` has the same names."""
        for name, tensor in _tensors(model):
            if name in self.by_name:
                tensor.data = tensor.data.to(self.by_name[name])
        model.config.dtype = self.configured  # saving a checkpoint has set it to float32


def hold_in_float32(model: PreTrainedModel) -> None:
    """Widen parameters and buffers of 16 bits, in place; wider ones stay as they are.

    A process that has room for parameters alone (FSDP) has room for wider ones then, untouched: it costs no memory.
    """
    for parameter in model.parameters():
        if parameter.dtype in HALF:
            room = torch.empty_like(parameter.data, dtype=torch.float32)
            parameter.data = room.copy_(parameter.data) if has_weights() else room
    for buffer in model.buffers():
        if buffer.dtype in HALF:
            buffer.data = buffer.data.float()


def computes_in_bf16(wanted: Literal["auto"] | bool, own: OwnDtypes) -> bool:
    """Whether to compute in bfloat16; "auto" does on a GPU that multiplies it itself, if the model is one of 16 bits.

    Raises:
        InputError: the GPU cannot.
    """
    has_gpu = torch.cuda.is_available()
    if wanted == "auto":
        return own.half and has_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted and has_gpu and not torch.cuda.is_bf16_supported():
        raise InputError("unlearn.bf16 is true, but this GPU does not compute in bfloat16; set it to auto or false")
    return wanted


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()
