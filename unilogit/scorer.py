"""One causal language model taken apart: its body, and its head applied at the positions that matter.

Knows models of transformers and the kernels. Knows nothing of forget and retain sets or of losses.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from unilogit.kernels import (
    FusedLoss,
    RowLoss,
    TargetLogProb,
    fused_target_loss,
    target_log_prob,
    target_log_prob_from_logits,
)

log = logging.getLogger(__name__)


class Features(NamedTuple):
    """What a model makes of a batch before its head.

    Attributes:
        last: [B, T, H], the head's input; or [B, T, V], the logits of a model without a head of its own.
        hidden: [B, T, H], the output of the layer that was asked for, or None.
    """

    last: Tensor
    hidden: Tensor | None


class Scorer:
    """Scores tokens under a model without ever holding the logits of a whole batch, where the model allows it.

    A model allows it when its logits are a linear head's output, possibly scaled (Cohere, Granite) or
    soft-capped (Gemma). That is tried out, not looked up: a model that does more to its logits falls back to
    full logits, and the log says so.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.
    """

    def __init__(self, model: Any) -> None:
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        config = self.model.config.get_text_config()
        self.layers: int = config.num_hidden_layers
        self.softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self.logit_scale: float | None = getattr(config, "logit_scale", None)
        if divisor := getattr(config, "logits_scaling", None):
            self.logit_scale = 1 / divisor
        self.body, self.head = self.model.get_decoder(), self.model.get_output_embeddings()
        self.fused, self.vocabulary = self._try_out()
        if not self.fused:
            _warn_once(type(self.model).__name__)

    def _try_out(self) -> tuple[bool, int]:
        """Whether body and head together give the model's logits, and how many of them there are."""
        embeddings = self.model.get_input_embeddings()
        ids = torch.arange(min(4, embeddings.num_embeddings), device=embeddings.weight.device)[None]
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                logits = self.model(input_ids=ids, use_cache=False).logits
                if self.body in (self.model, self.head) or not isinstance(self.head, torch.nn.Linear):
                    return False, logits.shape[-1]
                ours = self._apply_head(self.body(input_ids=ids, use_cache=False).last_hidden_state)
        finally:
            self.model.train(was_training)
        same = ours.shape == logits.shape and bool((ours - logits).abs().max() <= 1e-3 * logits.abs().max())
        return same, logits.shape[-1]

    def _apply_head(self, hidden: Tensor) -> Tensor:
        logits = linear(hidden, self.head.weight, self.head.bias)
        if self.logit_scale is not None:
            logits = logits * self.logit_scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def features(self, input_ids: Tensor, attention_mask: Tensor, layer: int | None = None) -> Features:
        """Run the body. Args: layer: of which the output is wanted as well, counted from 0."""
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
        if layer is not None:
            arguments["output_hidden_states"] = True
        if self.fused:
            outputs = self.body(**arguments)
            last = outputs.last_hidden_state
        else:
            outputs = type(self.model).forward(self.model, **arguments)  # past a forward that stands in for it
            last = outputs.logits
        return Features(last, None if layer is None else outputs.hidden_states[layer + 1])

    def within_head(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns; the head is applied inside it alone, where its weight is whole under FSDP."""
        if not self.fused:
            return function(*arguments)
        with stands_in(self.head, function):
            return self.head(*arguments)

    def logits(self, features: Tensor) -> Tensor:
        """[n, V], float32 or wider, of n rows of `Features.last`."""
        logits = self._apply_head(features) if self.fused else features
        return logits if logits.dtype == torch.float64 else logits.float()

    def score_targets(self, features: Tensor, target: Tensor) -> TargetLogProb:
        """log p and log(1 − p) of each target."""
        if not self.fused:
            return target_log_prob_from_logits(features, target)
        return target_log_prob(
            features, self.head.weight, target, self.head.bias, self.softcap, logit_scale=self.logit_scale
        )

    def one_pass_loss(self, features: Tensor, target: Tensor, loss: RowLoss, weights: Tensor) -> FusedLoss:
        """Weighted sum of a loss of each target, and its gradients, in one pass; for a fused model."""
        head = self.head
        return fused_target_loss(
            features, head.weight, target, loss, weights, head.bias, self.softcap, logit_scale=self.logit_scale
        )


@cache
def _warn_once(name: str) -> None:
    log.warning("%s: its logits are more than its head's output; working with full logits, which takes memory", name)


@contextmanager
def stands_in(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Let `forward` run in place of the module's own.

    A wrapper for several processes only notices what runs inside its module's forward: DDP counts gradients by
    it, FSDP makes the module's weights whole for as long.
    """
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before
