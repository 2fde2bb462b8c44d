"""A model of few positions and answers longer than they are, and what a plain loop makes of each answer token."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.evaluation.test_probability import TOKENIZER
from unilogit.data.tokenisation import encode_prompt

CONTEXT = 48
LONG = [
    ("Who wrote it?", "A hand unseen, in the winter of 1907. " * 6),
    ("", "Plain text without any prompt at all. " * 4),
    ("Where?", "x"),
    ("Who wrote it?", "Nobody." * 30),
]


def short_model(context=CONTEXT, seed=0):
    """Raises an IndexError, if it is given more tokens than its context."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(TOKENIZER),
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=context,
        bos_token_id=TOKENIZER.bos_token_id,
        eos_token_id=TOKENIZER.eos_token_id,
        pad_token_id=TOKENIZER.pad_token_id,
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


def plain_rows(model, prompt, answer, max_length):
    """log_softmax in float64 before each answer token, [n, V], and the tokens: a forward pass for each of them."""
    before = encode_prompt(TOKENIZER, prompt)
    tokens = [*TOKENIZER.encode(answer, add_special_tokens=False), TOKENIZER.eos_token_id]
    room = max_length - len(before)
    context = room // 4
    rows = []
    for place in range(len(tokens)):
        seen = 0  # the first answer token that the model sees
        if len(tokens) > room and place >= room:
            seen = room + (place - room) // (room - context) * (room - context) - context
        with torch.no_grad():
            rows.append(model(torch.tensor([before + tokens[seen:place]])).logits[0, -1].double().log_softmax(dim=0))
    return torch.stack(rows), torch.tensor(tokens)
