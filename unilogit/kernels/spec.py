"""What makes up a language-model head besides its weight, and how to compute it. Computes nothing."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Implementation = Literal["reference", "chunked", "triton"]


@dataclass(frozen=True)
class Chunk:
    """How the [N, V] logits are cut.

    Attributes:
        rows: tokens at once, at least 1; a longer group of tokens is taken at once all the same.
        columns: tokens of the vocabulary at once, at least 1.
        dtype: of the operands of the matrix products; sums are float32 or wider.

    Raises:
        ValueError: for rows or columns below 1.
    """

    rows: int
    columns: int
    dtype: torch.dtype

    def __post_init__(self) -> None:
        if min(self.rows, self.columns) < 1:
            raise ValueError(f"a chunk must have at least 1 row and 1 column, not {self.rows} and {self.columns}")


@dataclass(frozen=True, eq=False)
class HeadSpec:
    """A head's logits are f(hidden·weightᵀ + bias) with f(x) = softcap·tanh(logit_scale·x / softcap).

    The default is a bare linear layer, computed as suits the device.

    Attributes:
        bias: [V], or None for none. The only part with a gradient.
        softcap: logits are capped to ±softcap (Gemma 2); above 0, or None for no cap.
        logit_scale: logits are multiplied by it before the cap (Cohere, Granite), or None for 1.
        implementation: "reference" (plain PyTorch, holds [N, V] logits; `target_log_prob` only), "chunked" (any
            device), "triton" (chunked, with the element-wise work in Triton, in float32), or None: chunked, on
            CUDA with Triton where that works, which the log says when it does not.
        chunk: how to cut the logits; None for the default of the device.

    Raises:
        ValueError: for an unknown implementation, or a softcap that is not above 0.
    """

    bias: Tensor | None = None
    softcap: float | None = None
    logit_scale: float | None = None
    implementation: Implementation | None = None
    chunk: Chunk | None = None

    def __post_init__(self) -> None:
        if self.implementation not in (None, "reference", "chunked", "triton"):
            raise ValueError(
                f"implementation must be 'reference', 'chunked', 'triton' or None, not {self.implementation!r}"
            )
        if self.softcap is not None and not self.softcap > 0:
            raise ValueError(f"softcap must be above 0, or None for no cap, not {self.softcap}")


LINEAR = HeadSpec()
