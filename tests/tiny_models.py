"""Tiny models of many families with random weights, in float64."""

import torch
import transformers

V = 61
SIZES = {"vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GROUPED = {"num_key_value_heads": 2, "max_position_embeddings": 64}
FAMILIES = {
    "Llama": GROUPED,
    "Qwen2": GROUPED | {"tie_word_embeddings": True},
    "Qwen3": GROUPED | {"head_dim": 8},
    "Gemma2": GROUPED | {"head_dim": 8, "final_logit_softcapping": 0.5},
    "Gemma3Text": GROUPED | {"head_dim": 8, "final_logit_softcapping": 0.5},
    "GPTNeoX": {"max_position_embeddings": 64},
    "Phi": {"max_position_embeddings": 64},
    "Cohere": GROUPED | {"logit_scale": 0.3},
    "Granite": GROUPED | {"logits_scaling": 8.0},
    "ModernBertDecoder": {"max_position_embeddings": 64, "cls_token_id": 1, "sep_token_id": 2},
}
WITHOUT_PLAIN_HEAD = "ModernBertDecoder"  # it has a layer more between body and head


def tiny(family="Llama", seed=0, **sizes):
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**SIZES | TOKENS | FAMILIES[family] | sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).double()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)  # initial weights give next to no logits
    return model
