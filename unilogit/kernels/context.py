"""The type of what autograd hands to a Function's forward and backward."""

from typing import Protocol

from torch import Tensor

from unilogit.kernels.head import Plan
from unilogit.kernels.spec import HeadSpec


class Context(Protocol):
    """A Function's memory between forward and backward.

    Attributes:
        needs_input_grad: for each of forward's arguments, whether it needs a gradient.
        saved_tensors: what forward saved.
        spec, plan: of the head, without its tensors.
    """

    spec: HeadSpec
    plan: Plan

    @property
    def needs_input_grad(self) -> tuple[bool, ...]: ...

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]: ...

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...

    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...
