"""A tiny model that knows by heart what it is to forget and to retain."""

import copy
from functools import cache

import torch
from transformers import PreTrainedModel

from tests.training.tiny import FORGET, RETAIN, TOKENIZER, tiny_model
from unilogit.data.tokenisation import collate, encode_windows


@cache
def _tuned() -> PreTrainedModel:
    model = tiny_model()
    windows = [window for pair in FORGET + RETAIN for window in encode_windows(TOKENIZER, *pair, 64, name="a pair")]
    inputs = collate(windows, TOKENIZER.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        model(**inputs, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def knowing_model() -> PreTrainedModel:
    """A copy of it."""
    return copy.deepcopy(_tuned())
