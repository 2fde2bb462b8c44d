"""One causal language model of transformers: loaded, scored with its body and head apart, saved.

All that knows how transformers lays a model out, so it is longer than other modules. Knows nothing of forget and
retain sets or of losses.
"""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from huggingface_hub.errors import HFValidationError
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.integrations import is_fsdp_enabled

from unilogit import kernels
from unilogit.adapters import CONFIG, attach_adapter, base_of, find_adapter, merge, tokenizer_of
from unilogit.errors import InputError
from unilogit.files import atomic_folder
from unilogit.progress import transformers_progress
from unilogit.wrappers import Arguments, Result, give_room, run_as_forward, weights_are_shared_out

if TYPE_CHECKING:
    from peft import PeftModel

log = logging.getLogger(__name__)


class Features(NamedTuple):
    """What a scorer makes of a batch.

    Attributes:
        rows: [B, T, F], one for each position: what the scorer's other methods take, [n, F] of them at a time,
            and score the token after that position from.
        hidden: [B, T, H], the output of the layer that was asked for, or None.
    """

    rows: Tensor
    hidden: Tensor | None


class Scorer(ABC):
    """Scores the tokens that come next under a model; made by `make_scorer`.

    Attributes:
        model: the model, out of its adapters' wrapper.
        body: what makes hidden states of token ids.
        vocabulary: V, how many tokens it scores.
        layers: how many layers its body has.
    """

    def __init__(self, model: PreTrainedModel, vocabulary: int) -> None:
        self.model, self.vocabulary = model, vocabulary
        self.body: nn.Module = model.get_decoder()
        self.layers: int = model.config.get_text_config().num_hidden_layers

    def features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        layer: int | None = None,
        position_ids: Tensor | None = None,
    ) -> Features:
        """Run the model on a batch.

        Args:
            input_ids, attention_mask: [B, T], int64; a mask of the model's dtype and [B, 1, T, T] is added to scores.
            layer: of which the output is wanted as well, counted from 0.
            position_ids: [B, T], int64; None for one after the other.
        """
        rows, hidden = self._run(
            input_ids=input_ids,
            attention_mask=attention_mask,
            use_cache=False,
            output_hidden_states=layer is not None,
            **({} if position_ids is None else {"position_ids": position_ids}),
        )
        return Features(rows, None if layer is None else hidden[layer + 1])

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """What each layer makes of a batch, as in `features`: [B, T, H] each; the last one's as the head takes it."""
        _, hidden = self._run(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False, output_hidden_states=True
        )
        return hidden[1:]

    @abstractmethod
    def _run(self, **inputs: Tensor | bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The rows of a batch and, where asked for, the embeddings and what each layer makes of them."""

    @abstractmethod
    def logits(self, rows: Tensor) -> Tensor:
        """The logits of rows: [n, V], float32 or wider."""

    @abstractmethod
    def score_targets(self, rows: Tensor, target: Tensor) -> kernels.TargetLogProb:
        """log p and log(1 − p) of each row's target ([n] int64), in the graph."""

    @abstractmethod
    def one_pass_loss(
        self, rows: Tensor, target: Tensor, loss: kernels.RowLoss, weights: Tensor, groups: Tensor | None = None
    ) -> kernels.FusedLoss:
        """Weighted sum of a loss of each target, and its gradients; arguments as in `fused_target_loss`."""

    def within_head(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """What `function` returns; whatever scores rows runs inside it, where the head's weight is whole (FSDP)."""
        return function(*args, **kwargs)


class HeadScorer(Scorer):
    """For models whose logits are a linear head's output, possibly scaled (Cohere, Granite) or capped (Gemma).

    Rows are the head's input, F = H: the logits of a whole batch never exist.
    """

    def __init__(self, model: PreTrainedModel, vocabulary: int) -> None:
        super().__init__(model, vocabulary)
        self.head: nn.Linear = model.get_output_embeddings()
        config = model.config.get_text_config()
        divisor: float | None = getattr(config, "logits_scaling", None)
        self.logit_scale: float | None = 1 / divisor if divisor else getattr(config, "logit_scale", None)
        self.softcap: float | None = getattr(config, "final_logit_softcapping", None)

    @property
    def _spec(self) -> kernels.HeadSpec:  # anew each time: under FSDP, the bias is another tensor while it is whole
        return kernels.HeadSpec(self.head.bias, self.softcap, self.logit_scale)

    def _run(self, **inputs: Tensor | bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs = self.body(**inputs)
        return outputs.last_hidden_state, outputs.hidden_states

    def logits(self, rows: Tensor) -> Tensor:
        logits = kernels.head_logits(rows, self.head.weight, self._spec)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def score_targets(self, rows: Tensor, target: Tensor) -> kernels.TargetLogProb:
        return kernels.target_log_prob(rows, self.head.weight, target, self._spec)

    def one_pass_loss(
        self, rows: Tensor, target: Tensor, loss: kernels.RowLoss, weights: Tensor, groups: Tensor | None = None
    ) -> kernels.FusedLoss:
        return kernels.fused_target_loss(rows, self.head.weight, target, loss, weights, self._spec, groups)

    def within_head(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        return run_as_forward(self.head, function, *args, **kwargs)


class LogitScorer(Scorer):
    """For models that do more to their logits: rows are the logits, F = V, of the whole batch."""

    def _run(self, **inputs: Tensor | bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs = type(self.model).forward(self.model, **inputs)  # past what `run_as_forward` has put in its place
        return outputs.logits, outputs.hidden_states

    def logits(self, rows: Tensor) -> Tensor:
        return rows.to(torch.promote_types(rows.dtype, torch.float32))

    def score_targets(self, rows: Tensor, target: Tensor) -> kernels.TargetLogProb:
        return kernels.target_log_prob_from_logits(rows, target)

    def one_pass_loss(
        self, rows: Tensor, target: Tensor, loss: kernels.RowLoss, weights: Tensor, groups: Tensor | None = None
    ) -> kernels.FusedLoss:
        scores = kernels.target_log_prob_from_logits(rows, target)
        values = loss(scores, slice(0, len(target)))
        return kernels.FusedLoss((values * weights.to(values.dtype)).sum(), values.detach(), scores.log_p.detach())


def make_scorer(model: nn.Module) -> Scorer:
    """The scorer that suits a model: tried out on a few tokens, not looked up.

    A model whose logits are more than its head's output has its logits whole, and the log says so. Where FSDP
    loads the weights in one process alone, that one decides: all processes have to call this.

    Args:
        model: a causal language model of transformers, or a PEFT model around one.

    Raises:
        TypeError: it is something else.
    """
    unwrap = getattr(model, "get_base_model", None)
    inner = unwrap() if callable(unwrap) else model
    if not isinstance(inner, PreTrainedModel):
        raise TypeError(f"a model of transformers is needed, not {type(inner).__name__}")
    is_decided_here = not is_fsdp_enabled() or PartialState().is_main_process
    decision = [_try_out(inner) if is_decided_here else (False, 0)]
    if is_fsdp_enabled():
        broadcast_object_list(decision)
    has_plain_head, vocabulary = decision[0]
    if has_plain_head:
        return HeadScorer(inner, vocabulary)
    _warn_once(type(inner).__name__)
    return LogitScorer(inner, vocabulary)


def _try_out(model: PreTrainedModel) -> tuple[bool, int]:
    """Whether body and head apart give the model's logits, and how many of them there are."""
    ids = torch.arange(min(4, model.config.get_text_config().vocab_size), device=model.device)[None]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[0]
            head, vocabulary = model.get_output_embeddings(), logits.shape[-1]
            if model.get_decoder() in (model, head) or not isinstance(head, nn.Linear):
                return False, vocabulary
            scorer = HeadScorer(model, vocabulary)
            apart = scorer.logits(scorer.features(ids, torch.ones_like(ids)).rows[0])
    finally:
        model.train(was_training)
    agrees = apart.shape == logits.shape and bool((apart - logits).abs().max() <= 1e-3 * logits.abs().max())
    return agrees, vocabulary


@cache
def _warn_once(name: str) -> None:
    log.warning("%s: its logits are more than its head's output; working with full logits, which takes memory", name)


def load_model(name: str, *, own_dtype: bool = False) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer, on the GPU where there is one; an adapter merged into its base.

    Under FSDP the model stays on the CPU, and one process of each machine has its weights; the others have room
    for them. accelerate shares them out.

    Args:
        name: a Hugging Face folder or hub name, or the folder of a LoRA adapter.
        own_dtype: its weights in `checkpoint_dtype` on the CPU too; else in float32 there.

    Raises:
        InputError: nothing loadable is there.
    """
    model, adapter = _load_base(name, own_dtype), find_adapter(name)
    return merge(attach_adapter(model, adapter, trainable=False)) if adapter else model, load_tokenizer(name)


def load_adapted(name: str) -> "tuple[PeftModel, PreTrainedTokenizerBase]":
    """As `load_model` with its own dtype; but the adapter is beside its base, and can be trained.

    Raises:
        InputError: no adapter is there, or it is none that can be used.
    """
    adapter = find_adapter(name)
    if adapter is None:
        raise InputError(f"{name}: there is no adapter ({CONFIG})")
    return attach_adapter(_load_base(name, own_dtype=True), adapter, trainable=True), load_tokenizer(name)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A model's tokenizer; one that cannot pad pads with end-of-sequence.

    Args:
        name: as of `load_model`.

    Raises:
        InputError: there is none.
    """
    with _loading(name):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tokenizer_of(name))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _load_base(name: str, own_dtype: bool) -> PreTrainedModel:
    """The model as `load_model` has it, without an adapter."""
    is_sharded, has_gpu, device = weights_are_shared_out(), torch.cuda.is_available(), None
    if is_sharded:
        device = None if PartialState(cpu=not has_gpu).is_local_main_process else "meta"
        if find_adapter(name):
            raise InputError(
                f"{name}: is an adapter, and processes cannot share the weights of one with its base (FSDP); set"
                " unlearn.sharding to none, or merge it into its base and name that whole model"
            )
    with _loading(name):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            base_of(name), dtype="auto" if own_dtype or has_gpu else torch.float32, device_map=device
        )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise InputError(
            f"{name}: is an adapter of the hub; fetch it with `hf download {name} --local-dir FOLDER`, and name FOLDER"
        )
    if device == "meta":
        give_room(model)
        model.tie_weights()
    if has_gpu and not is_sharded:
        nn.Module.cuda(model)  # in place
    return model


def checkpoint_dtype(name: str) -> torch.dtype:
    """The dtype of a checkpoint's floating weights: what its config says, else that of the first in its files.

    Args:
        name: as of `load_model`; of an adapter's folder, its base's dtype.

    Raises:
        InputError: no model is there.
    """
    with _loading(name):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base_of(name), dtype="auto", device_map="meta")
    return model.dtype


@contextmanager
def _loading(name: str) -> Iterator[None]:
    try:
        with transformers_progress(None):
            yield
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: no causal language model can be loaded from there ({why_no_model(error)})") from None


def why_no_model(error: Exception) -> str:
    """What transformers said when it found no model, in one clause."""
    if isinstance(error.__cause__, HFValidationError):
        return "there is no such folder, and no model on the hub can be called so"
    return str(error).strip().splitlines()[0]


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path | str,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a Hugging Face folder, whole or not at all; one that is there is replaced.

    Args:
        dtype: of the floating weights in the folder; None for those of the model, which stays as it is.

    Raises:
        InputError: the disk is full.
    """
    with atomic_folder(folder) as temporary, transformers_progress(None):
        model.save_pretrained(temporary, state_dict=None if dtype is None else _cast(model.state_dict(), dtype))
        if dtype is not None:
            config = copy.deepcopy(model.config)
            config.dtype = dtype
            config.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def _cast(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Floating tensors in another dtype; what shared memory still does, so that tied weights are written once."""
    done: dict[tuple[int, torch.Size], Tensor] = {}
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = done.setdefault((tensor.data_ptr(), tensor.shape), tensor.to(dtype))
    return state


def context_length(model: PreTrainedModel, max_length: int | None = None) -> int | None:
    """How many tokens a model may be given at once; None where nothing limits them.

    Its own context (`max_position_embeddings`), or max_length where that is less.
    """
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [limit for limit in (own, max_length) if limit is not None and limit > 0]
    return min(limits, default=None)
