"""What training and measuring a model need of memory, told from its configuration: no weight is read.

A model without memory (torch's fake tensors) runs one forward pass, and what its graph would keep for the backward one
is counted; the rest is arithmetic. Knows models and how this library trains and measures them; nothing of a machine.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from unilogit.adapters import base_of, find_adapter, unwrapped
from unilogit.errors import InputError
from unilogit.evaluation.batching import token_bytes
from unilogit.model import checkpoint_dtype, why_no_model
from unilogit.training.config import UnlearnConfig
from unilogit.training.lora import add_lora
from unilogit.training.setup import methods_of

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

FLOAT32 = 4  # bytes
_MOMENTS = 2  # of AdamW
_CHUNK = 1 << 28  # bytes of logits that exist at once: what kernels and losses on logits keep to
_HEAP = 1.2  # of a LoRA step's activations on the CPU: what the C library's heap holds between blocks of several sizes


@dataclass(frozen=True)
class Outline:
    """A model as its configuration tells it.

    Attributes:
        parameters: how many, tied ones once.
        trained: how many of them training changes: all, or an adapter's beside them.
        dtype: of the checkpoint.
        head: parameters of the output layer.
        vocabulary: tokens that it scores.
        token: bytes that a token takes while it runs without gradients, in the dtype it was outlined in.
        kept: bytes that a training step keeps for its backward pass.
        layer: of them, those of one layer, which a step with gradient checkpointing makes again.
    """

    parameters: int
    trained: int
    dtype: torch.dtype
    head: int
    vocabulary: int
    token: int
    kept: int
    layer: int

    @property
    def has_adapter(self) -> bool:
        """Whether an adapter alone is trained."""
        return self.trained < self.parameters

    @property
    def saved(self) -> int:
        """Bytes of the weights in a checkpoint's dtype."""
        return self.parameters * self.dtype.itemsize


def outline(name: str, config: UnlearnConfig, *, rows: int, length: int, bf16: bool, further: bool) -> Outline:
    """`outline_built` of a checkpoint.

    Args:
        name: a Hugging Face folder or hub name, or an adapter's folder.
        config: how it is trained; of it the adapter and gradient checkpointing.
        rows, length: sequences of a micro-batch, and tokens of each, padding included; 0 for no pass at all.
        bf16: whether it computes in bfloat16.
        further: whether the adapter that `name` is, is trained, instead of all weights or a new one.

    Raises:
        InputError: no model is there, or the adapter asked for cannot be.
    """
    dtype = checkpoint_dtype(name)
    try:
        configuration = AutoConfig.from_pretrained(base_of(name))
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: no causal language model there ({why_no_model(error)})") from None

    def build(dtype: torch.dtype) -> PreTrainedModel:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(configuration, dtype=dtype)
        return model

    adapter = _adapter_settings(name) if further else None
    return outline_built(build, dtype, config, adapter, rows=rows, length=length, bf16=bf16)


def outline_built(
    build: Callable[[torch.dtype], PreTrainedModel],
    dtype: torch.dtype,
    config: UnlearnConfig,
    adapter: "LoraConfig | None",
    *,
    rows: int,
    length: int,
    bf16: bool,
) -> Outline:
    """Run a model without memory on a step's micro-batch.

    Args:
        build: makes it, in a dtype.
        dtype: of its checkpoint.
        config, rows, length, bf16: as in `outline`.
        adapter: of an adapter that it has and that is trained further.
    """
    has_adapter = adapter is not None or config.lora_rank is not None
    with torch.device("meta"):
        model = build(dtype if has_adapter else torch.float32)
        head = model.get_output_embeddings()
        parameters = sum(parameter.numel() for parameter in model.parameters())
        trained = _with_adapter(model, config, adapter)
    changed = sum(parameter.numel() for parameter in trained.parameters() if parameter.requires_grad)
    kept, layer = _pass(model, trained, config, rows, length, bf16) if rows else (0, 0)
    size = head.weight.numel() if isinstance(head, nn.Linear) else 0
    vocabulary = model.config.get_text_config().vocab_size
    return Outline(parameters, changed, dtype, size, vocabulary, token_bytes(model), kept, layer)


def _adapter_settings(name: str) -> "LoraConfig":
    from peft import LoraConfig

    adapter = find_adapter(name)
    assert adapter is not None
    settings: LoraConfig = LoraConfig.from_pretrained(str(adapter.folder))
    return settings


def _with_adapter(
    model: PreTrainedModel, config: UnlearnConfig, adapter: "LoraConfig | None"
) -> "PreTrainedModel | PeftModel":
    if adapter is not None:
        from peft import get_peft_model

        attached: PeftModel = get_peft_model(model, replace(adapter, inference_mode=False))
        return attached
    return model if config.lora_rank is None else add_lora(model, config, seed=0)


def _pass(
    model: PreTrainedModel,
    trained: "PreTrainedModel | PeftModel",
    config: UnlearnConfig,
    rows: int,
    length: int,
    bf16: bool,
) -> tuple[int, int]:
    """`Outline.kept` and `Outline.layer`."""
    with FakeTensorMode():
        _on_the_cpu(trained)
        kept = _kept(trained, rows, length, bf16)
        layer = math.ceil(kept / model.config.get_text_config().num_hidden_layers)
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            kept = _kept(trained, rows, length, bf16)
    return kept, layer


def _on_the_cpu(model: nn.Module) -> None:
    """Give tensors without a device one, within FakeTensorMode; tied ones stay so. `Module.to_empty` cannot."""
    rooms: dict[int, Tensor] = {}
    for module in model.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            room = rooms.get(id(tensor))
            if room is None:
                room = torch.empty(tensor.shape, dtype=tensor.dtype)
                if isinstance(tensor, nn.Parameter):
                    room = nn.Parameter(room, tensor.requires_grad)
                rooms[id(tensor)] = room
            setattr(module, name, room)


def _kept(model: "PreTrainedModel | PeftModel", rows: int, length: int, bf16: bool) -> int:
    """Bytes of what the graph of a forward pass keeps, parameters aside; two views of one tensor count once."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes(), tensor  # held, so that no later one has its number
        return tensor

    ids = torch.zeros((rows, length), dtype=torch.long)
    autocast = torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()
    body: nn.Module = unwrapped(model).get_decoder()
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        body(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return sum(size for size, _ in kept.values())


def training_memory(
    model: Outline,
    config: UnlearnConfig,
    *,
    tokens: int,
    on_gpu: bool,
    shares: int = 1,
    further: bool = False,
    starts_apart: bool = False,
) -> dict[str, int]:
    """Bytes that unlearning takes on the device of one process, by what they are for.

    Args:
        tokens: of a micro-batch, padding included.
        on_gpu: whether the device is a GPU, where AdamW works on all weights at once and has a copy of them, and where
            the copy of the nearest epoch's weights is not.
        shares: processes that have a part of the weights each (FSDP).
        further: as in `outline`; an adapter that is trained further is copied to be compared with.
        starts_apart: training begins with other weights than those compared with, which are no base of new adapters.
    """
    methods = methods_of(config)
    changed = model.trained * FLOAT32
    before = 0
    if any(method.needs_reference_model for method in methods):
        before = changed if further else model.saved if starts_apart or not model.has_adapter else 0
    on_logits = any("logits" in method.needs for method in methods)
    logits = min(_CHUNK, tokens * model.vocabulary * FLOAT32) * (2 if on_logits else 1)
    activations = model.kept + (model.layer if config.gradient_checkpointing else 0)
    is_scattered = model.has_adapter and not config.gradient_checkpointing and not on_gpu
    parts = {
        "weights": (model.saved + changed if model.has_adapter else changed) // shares,
        "gradients": changed // shares,
        "optimizer": changed * (_MOMENTS + on_gpu) // shares,
        "model before": before // shares,
        "nearest epoch": 0 if on_gpu else changed,
        "weights nearby": 2 * changed if methods[0].smooths else 0,
        "activations": activations,
        "logits": logits + (0 if model.has_adapter else model.head * FLOAT32),
        "heap": int(_HEAP * activations) if is_scattered else 0,
    }
    return {name: size for name, size in parts.items() if size}


def fewest_parts(
    model: Outline,
    config: UnlearnConfig,
    *,
    groups: int,
    tokens: int,
    memory: int,
    on_gpu: bool,
    shares: int = 1,
    further: bool = False,
    starts_apart: bool = False,
) -> int:
    """The fewest micro-batches of one size that a step has to be worked through in, for memory to hold each of them.

    Args:
        model: as outlined with one group: a forget example and what stands beside it.
        groups: of a process's part of a step.
        tokens: of a group, padding included.
        memory: bytes that one process may take.
        on_gpu, shares, further, starts_apart: as in `training_memory`.

    Returns:
        A divisor of `groups`; that itself, too, where memory does not even hold one.
    """
    for parts in range(1, groups):
        size = groups // parts
        if groups % parts == 0:
            micro_batch = replace(model, kept=model.kept * size, layer=model.layer * size)
            told = training_memory(
                micro_batch,
                config,
                tokens=tokens * size,
                on_gpu=on_gpu,
                shares=shares,
                further=further,
                starts_apart=starts_apart,
            )
            if sum(told.values()) <= memory:
                return parts
    return groups


def full_training_memory(model: Outline) -> dict[str, int]:
    """Bytes of training all weights in float32 without activations: from scratch, or in the relearning attack."""
    whole = model.parameters * FLOAT32
    return {"weights": whole, "gradients": whole, "optimizer": _MOMENTS * whole}
