"""A LoRA adapter in a folder, as PEFT lays it out: which model it is on, attached to it, written.

An adapter says what is added to the weights of another model, its base. Knows nothing of training. PEFT, which is an
optional extra, and torch are imported inside functions.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from unilogit.errors import InputError
from unilogit.files import atomic_folder, read_json, write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONFIG = "adapter_config.json"  # PEFT's name, as are those below
NAME = "default"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_WHOLE = ("model*.safetensors*", "pytorch_model*.bin*")  # weights of a whole model
_TOKENIZER = "tokenizer_config.json"
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter.

    Attributes:
        folder: it lies in.
        base: the folder or hub name of the model that it is on.
    """

    folder: Path
    base: str


def find_adapter(name: str) -> Adapter | None:
    """The adapter in a folder; None where there is none, or `name` is no folder.

    Raises:
        InputError: it is none that can be used, or its base is not there.
    """
    folder = Path(name)
    if not (folder / CONFIG).is_file():
        nested = sorted(file.parent.name for file in folder.glob(f"*/{CONFIG}"))
        if nested and not (folder / "config.json").is_file():
            raise InputError(
                f"{folder}: has its adapters in folders of their own ({', '.join(nested)}); name one of them"
            )
        return None
    if whole := sorted(file.name for pattern in _WHOLE for file in folder.glob(pattern)):
        raise InputError(
            f"{folder}: holds a whole model ({whole[0]}) and an adapter ({CONFIG}); put the one that is meant into a"
            " folder of its own"
        )
    if not any((folder / weights).is_file() for weights in _WEIGHTS):
        raise InputError(f"{folder}: has {CONFIG}, but no {_WEIGHTS[0]}; put the adapter's weights there")
    try:
        config = read_json(folder / CONFIG)
        kind, base = config.get("peft_type"), config.get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{folder / CONFIG}: is not PEFT's ({error}); save the adapter again") from None
    if kind != "LORA":
        raise InputError(
            f"{folder}: is an adapter of the kind {kind}, and only LoRA can be used; merge it into its base, if it can"
            " be, and name that whole model"
        )
    return Adapter(folder, _found_base(folder, base))


def _found_base(folder: Path, base: str | None) -> str:
    remedy = f"correct base_model_name_or_path in {folder / CONFIG}"
    if not base:
        raise InputError(f"{folder}: its adapter names no base; {remedy}")
    whole = base_folder(folder / CONFIG)
    if whole is None:
        if not _HUB_NAME.fullmatch(base):
            raise InputError(f"{folder}: the base of its adapter, {base}, is not there; put it there, or {remedy}")
        return base
    if (whole / CONFIG).is_file():
        raise InputError(
            f"{folder}: the base of its adapter, {whole}, is an adapter itself; merge that one into its base, and"
            f" {remedy}"
        )
    return str(whole)


def base_folder(config: Path) -> Path | None:
    """The folder that an adapter_config.json names as base, if it is there: as PEFT reads it, or beside the file."""
    try:
        base = read_json(config).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None
    folders = [Path(base), config.parent / base] if isinstance(base, str) and base else []
    return next((folder for folder in folders if folder.is_dir()), None)


def base_of(name: str) -> str:
    """The whole model that a name stands for, which has the configuration: an adapter's base, or itself."""
    adapter = find_adapter(name)
    return adapter.base if adapter else name


def tokenizer_of(name: str) -> str:
    """Where the tokenizer is: in an adapter's folder, if it has one, else in its base's."""
    return name if (Path(name) / _TOKENIZER).is_file() else base_of(name)


def lasting(base: str) -> str:
    """A base as an adapter's folder names it: a path that holds wherever that folder is moved to, or a hub name."""
    return str(Path(base).resolve()) if Path(base).is_dir() else base


def put_on_base(folder: Path, base: str) -> None:
    """Have the adapter in a folder name another base; its weights stay as they are."""
    config = read_json(folder / CONFIG)
    write_json(folder / CONFIG, config | {"base_model_name_or_path": lasting(base)})


def attach_adapter(model: "PreTrainedModel", adapter: Adapter, *, trainable: bool) -> "PeftModel":
    """A PEFT model of a base, which becomes a part of it, and an adapter; adapter weights are float32.

    Args:
        trainable: the adapter is; else nothing is.

    Raises:
        InputError: PEFT is not installed, or the adapter does not fit the base.
    """
    peft = _peft(f"{adapter.folder}: is an adapter, which needs PEFT")
    config = peft.LoraConfig.from_pretrained(str(adapter.folder))
    config.inference_mode, config.base_model_name_or_path = not trainable, lasting(adapter.base)
    try:
        attached: PeftModel = peft.PeftModelForCausalLM(model, config, NAME)
        attached.load_adapter(str(adapter.folder), NAME, is_trainable=trainable)
        there = set(peft.utils.load_peft_weights(str(adapter.folder), device="cpu"))
    except (ValueError, RuntimeError) as error:
        problem = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{adapter.folder}: does not fit its base, {adapter.base} ({problem})") from None
    needed = set(peft.get_peft_model_state_dict(attached, save_embedding_layers=False))
    if missing := sorted(needed - there):
        raise InputError(f"{adapter.folder}: does not fit its base, {adapter.base}: it has no {_told(missing)}")
    if surplus := sorted(there - needed):
        raise InputError(
            f"{adapter.folder}: has more than low-rank matrices of its base's modules ({_told(surplus)}); merge it into"
            f" its base, {adapter.base}, and name that whole model"
        )
    refuse_tied(attached, f"{adapter.folder}: ")
    attached.eval()
    return attached


def refuse_tied(model: "PeftModel", problem: str) -> None:
    """Refuse an adapter on embeddings that are the head as well: merged, it would change both.

    Args:
        problem: what the sentence begins with.

    Raises:
        InputError: there is such an adapter.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    inner = unwrapped(model)
    parts = (inner.get_input_embeddings(), inner.get_output_embeddings())
    adapted = any(isinstance(part, BaseTunerLayer | AuxiliaryTrainingWrapper) for part in parts)
    if adapted and inner.config.get_text_config().tie_word_embeddings:
        raise InputError(
            f"{problem}an adapter on the embeddings or on the head of {type(inner).__name__} cannot be merged as it was"
            " trained, as they share their weights; leave them out"
        )


def unwrapped(model: "PreTrainedModel | PeftModel") -> "PreTrainedModel":
    """The model of transformers inside."""
    from transformers import PreTrainedModel

    return model if isinstance(model, PreTrainedModel) else cast(PreTrainedModel, model.get_base_model())


def merge(model: "PeftModel") -> "PreTrainedModel":
    """The base with what its adapters add: W + scale·B·A, in the base's dtype; all of it can be trained again."""
    merged: PreTrainedModel = model.merge_and_unload()
    return merged.requires_grad_(True)


def save_adapter(model: "PeftModel", tokenizer: "PreTrainedTokenizerBase", folder: Path | str, base: str) -> None:
    """Write the adapter alone, with the tokenizer, whole or not at all; a folder that is there is replaced.

    Args:
        base: the folder or hub name of the model that it is on.

    Raises:
        InputError: the disk is full.
    """
    model.peft_config[NAME].base_model_name_or_path = lasting(base)
    with atomic_folder(folder) as temporary:
        model.save_pretrained(str(temporary), save_embedding_layers=False)  # "auto" would ask the hub
        (temporary / "README.md").unlink(missing_ok=True)  # a form to be filled in
        tokenizer.save_pretrained(temporary)


def _told(keys: list[str]) -> str:
    return keys[0] + (f" and {len(keys) - 1} more" if keys[1:] else "")


def _peft(problem: str) -> ModuleType:
    """PEFT; or an InputError that begins with `problem`."""
    try:
        import peft
    except ImportError:
        raise InputError(f"{problem}; pip install 'unilogit[lora]'") from None
    return peft
