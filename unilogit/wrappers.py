"""What wrappers for several processes (DDP, FSDP) ask of the module inside.

Knows torch and accelerate; nothing of transformers' models.
"""

import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from accelerate import PartialState
from accelerate.utils import extract_model_from_parallel
from torch import nn

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def run_as_forward(
    module: nn.Module, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """What `function` returns, run in place of a module's forward: `module(*args, **kwargs)` calls it.

    Wrappers for several processes notice only what runs inside their module's own forward: DDP counts gradients
    by it, and FSDP makes the module's weights whole for as long as it runs. Whatever uses a module's weights in
    another way than its forward does has to run so.

    Args:
        module: whose forward is stood in for; a wrapper (DDP, FSDP) around it is called as a whole.
        function: takes what the module is called with.
    """
    inner = extract_model_from_parallel(module)
    before = vars(inner).get("forward")
    inner.forward = function
    try:
        result: Result = module(*args, **kwargs)
    finally:
        if before is None:
            del inner.forward
        else:
            inner.forward = before
    return result


def weights_are_shared_out() -> bool:
    """Whether accelerate shares weights out over processes (FSDP).

    It then takes them from one process, and says so to transformers, unless it was told otherwise.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() not in ("1", "true", "yes"):
        return False
    os.environ.setdefault("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    return True


def has_weights() -> bool:
    """Whether this process has the weights of a model that is to be trained, and not room for them alone."""
    return not weights_are_shared_out() or PartialState().is_local_main_process


def give_room(module: nn.Module) -> None:
    """Memory on the CPU for what is on the meta device, untouched, so that it costs nothing until it is filled.

    Not the meta device itself: accelerate tells parameters apart by where they are. Buffers that have values keep
    them; tied parameters have to be tied again.
    """
    buffers = dict(module.named_buffers())
    module.to_empty(device="cpu")
    for name, buffer in module.named_buffers():
        if not buffers[name].is_meta:
            buffer.copy_(buffers[name])
