"""Adapters as people bring them: made by PEFT alone, with random matrices, beside a tiny base."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

SETTINGS = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"}


def save_random_adapter(folder: Path, base: Path, kind=LoraConfig, **settings: object) -> Path:
    """An adapter on the model in a folder, none of whose matrices is zero."""
    model = AutoModelForCausalLM.from_pretrained(base)
    given = SETTINGS | settings if kind is LoraConfig else settings
    adapted = get_peft_model(model, kind(**given))
    torch.manual_seed(7)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.3)
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def merged_by_hand(base: Path, adapter: Path, scale: float) -> dict[str, torch.Tensor]:
    """Base weights + scale · B · A in float64, read from the files."""
    weights = {name: tensor.double() for name, tensor in load_file(base / "model.safetensors").items()}
    parts = load_file(adapter / "adapter_model.safetensors")
    for name, lowering in parts.items():
        if ".lora_A." in name:
            raising = parts[name.replace(".lora_A.", ".lora_B.")]
            target = name.removeprefix("base_model.model.").replace(".lora_A", "")
            weights[target] += scale * raising.double() @ lowering.double()
    return weights
