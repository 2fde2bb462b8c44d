"""Tokenizers with chat templates in the shapes of five model families; the words are ours."""

from tokenizers import AddedToken, Regex, pre_tokenizers
from transformers import PreTrainedTokenizerBase

from unilogit.training.from_scratch import train_tokenizer

TEXTS = [
    "user\n\nassistant\nsystem\nmodel\n",
    "Where does Ada Lindberg live?\n\n",
    "In 12 Elm Street.",
    "Wo wohnt Zoë?",
]

# Line breaks are a word of their own, as Llama-3's and Qwen's tokenizers have it.
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# Family → special tokens, end-of-sequence, template.
_SHAPES = {
    "Llama-3": (
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|eot_id|>",
        "{{- bos_token }}{%- for m in messages %}"
        "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}"
        "{%- endfor %}{%- if add_generation_prompt %}"
        "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}",
    ),
    "Gemma": (
        ["<start_of_turn>", "<end_of_turn>"],
        "</s>",
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
        "{{ '<start_of_turn>' + role + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    ),
    "Phi-3": (
        ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>"],
        "<|endoftext|>",
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    ),
    "Qwen": (
        ["<|im_start|>", "<|im_end|>"],
        "<|im_end|>",
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}"
        "{%- if m.role == 'assistant' and loop.last %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
        "{{- m.content + '<|im_end|>\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}",
    ),
    "SmolLM2": (
        ["<|im_start|>", "<|im_end|>"],
        "<|im_end|>",
        "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
        "{{ '<|im_start|>system\nYou help people.<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ),
}
TURN_END = {"Llama-3": "<|eot_id|>", "Gemma": "<end_of_turn>", "Phi-3": "<|end|>", "Qwen": "<|im_end|>"}
TURN_END["SmolLM2"] = TURN_END["Qwen"]
FAMILIES = tuple(_SHAPES)


def chat_tokenizer(family: str) -> PreTrainedTokenizerBase:
    """A byte-level tokenizer with the family's special tokens and template."""
    tokens, end, template = _SHAPES[family]
    tokenizer = train_tokenizer(TEXTS, 420)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [AddedToken(token, special=True, normalized=False) for token in tokens]}
    )
    tokenizer.eos_token, tokenizer.chat_template = end, template
    return tokenizer
