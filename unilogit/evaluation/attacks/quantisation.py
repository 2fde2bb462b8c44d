"""Does the forgotten come back when weights are rounded? Weight-only quantisation to integers.

Unlearning often moves weights by less than a rounding step, so that rounding undoes it. Simulated on any
device: weights are quantised and dequantised in a copy, activations are left alone. Knows nothing of packed
formats or of kernels. Source: Zhang et al. 2024, arxiv.org/abs/2410.16454.

Quantised are the linear layers of the decoder's body. The head, embeddings and normalisation are left as they
are, as deployments do; so are experts that a mixture-of-experts model holds in one three-dimensional tensor.
"""

import copy
from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import encode_all
from unilogit.errors import InputError
from unilogit.evaluation.probability import score_answers
from unilogit.model import context_length

COLUMNS = ["record_id", "bits", "nll", "probability"]


def quantisation(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    bits: Sequence[int],
    group_size: int,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """Score all records with the model as it is and with its weights in fewer bits.

    Args:
        bits: widths to try, each from 2 to 8.
        group_size: neighbouring weights of an output channel that share a scale, below 8 bits; at 8 bits it
            is the whole channel.
        batch_tokens: at once, as in `in_batches`.
        max_length: as in `score_tokens`.
        progress: what progress bars on standard error begin with; None for no bars.

    Returns:
        A row for each width and record: record_id, bits (int64; of the model as it is, those of its dtype), nll
        (per answer token, nats) and probability (float64).

    Raises:
        InputError: a width is out of range, the body has no linear layers, or as `score_tokens`.
    """
    own_bits = torch.finfo(model.dtype).bits
    pairs = [record.context for record in records], [record.response for record in records]
    names = [f"record {record.record_id}" for record in records]
    windows = encode_all(tokenizer, *pairs, context_length(model, max_length), names)
    frames = []
    for width in [own_bits, *sorted(set(bits), reverse=True)] if records else []:
        scores = score_answers(
            model if width == own_bits else quantised_copy(model, width, None if width == 8 else group_size),
            tokenizer,
            *pairs,
            batch_tokens=batch_tokens,
            windows=windows,
            progress=progress and f"{progress}: score at {width} bits",
        )
        frame = scores[["nll", "probability"]].assign(record_id=[record.record_id for record in records], bits=width)
        frames.append(frame[COLUMNS])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def quantised_copy(model: PreTrainedModel, bits: int, group_size: int | None) -> PreTrainedModel:
    """A copy of the model with the body's linear weights as `quantise_weight` gives them, in their own dtype.

    Raises:
        InputError: as `quantisation`.
    """
    if not 2 <= bits <= 8:
        raise InputError(f"quantisation to {bits} bits is not offered; choose from 2 to 8")
    model = copy.deepcopy(model)
    head = model.get_output_embeddings()
    layers = [
        module
        for module in model.get_decoder().modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    if not layers:
        raise InputError(f"{type(model).__name__} has no linear layers that quantisation knows; leave that attack out")
    with torch.no_grad():
        for layer in layers:
            weight = layer.weight.T if isinstance(layer, Conv1D) else layer.weight
            weight.copy_(quantise_weight(weight, bits, group_size))
    return model


def quantise_weight(weight: Tensor, bits: int, group_size: int | None) -> Tensor:
    """Round to the nearest of 2^bits - 1 evenly spaced numbers around 0 (symmetric, absmax).

    In each group, scale = max|w| / (2^(bits-1) - 1), and w becomes scale * round(w / scale).
    Source: Dettmers et al. 2022, arxiv.org/abs/2208.07339.

    Args:
        weight: [outputs, inputs], of any floating-point type.
        group_size: inputs that share a scale; the last group of a row may be shorter. None: the whole row.

    Returns:
        float32 of the same shape.
    """
    levels = 2 ** (bits - 1) - 1
    pieces = []
    for group in weight.float().split(group_size or weight.shape[1], dim=1):
        scale = group.abs().amax(dim=1, keepdim=True) / levels
        scale = scale.clamp_min(torch.finfo(torch.float32).tiny)  # a group of zeros stays one
        pieces.append((group / scale).round() * scale)
    return torch.cat(pieces, dim=1)
