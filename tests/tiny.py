"""Tiny models for tests: untrained, opinionated, saved in a moment."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unilogit.training.from_scratch import train_tokenizer

TEXTS = ["What of a 0?", "It is a, number 1 of all.", "Where does ann live? In street 3 of town 9.", "Say a 2."]


def save_model(folder: Path, seed: int, texts: list[str] | None = None, **config: object) -> str:
    """Write a Llama of one layer and its tokenizer to a folder; its logits are far from even."""
    tokenizer = train_tokenizer(texts or TEXTS, 320)
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    settings = {"vocab_size": len(tokenizer), **shape, "initializer_range": 0.5, **config}
    LlamaForCausalLM(LlamaConfig(**settings)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
