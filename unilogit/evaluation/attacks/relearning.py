"""Does a little of what was forgotten bring back the rest? Fine-tuning on a share of the forget set.

An attacker who holds the weights and some of the forgotten records trains on these; a model that only hides
what it knows then says the others too. What answers have in common is learned by any model: compare the curve
with that of one that never saw the forget set. Where memory does not hold a copy with all that training takes, adapters
are trained instead (LoRA). Knows nothing of the other attacks or of how the model unlearned.
Source: Hu et al. 2024, arxiv.org/abs/2406.13356.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import Encoded, collate, encode_all
from unilogit.errors import InputError
from unilogit.evaluation.probability import score_answers
from unilogit.memory import total_memory
from unilogit.model import context_length, make_scorer
from unilogit.progress import track

COLUMNS = ["record_id", "relearned", "trained", "step", "nll", "probability"]
WEIGHTS, ADAPTERS = "all weights", "adapters"  # what is trained
MEMORY_SHARE = 0.9  # of a device's memory, for model and copy; the rest is for what is in between
BYTES_PER_WEIGHT = 16  # of the copy: float32, its gradient and two moments
ADAPTER_RANK = 16
ADAPTER_RATE = 10  # times that of all weights: Schulman et al. 2025, "LoRA Without Regret"


def relearning(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    steps: Sequence[int],
    share: float,
    learning_rate: float,
    step_size: int,
    batch_tokens: int | None = None,
    seed: int,
    max_length: int | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """Score all records as a copy of the model is trained on some of them.

    The copy has float32 weights, all trained with AdamW at a constant rate without weight decay or dropout; the
    loss is the mean over answer tokens. It needs the memory of training: 16 bytes a weight beside the model. Where the
    device has less (`holds_copy`), the model is not copied, but has adapters of rank `ADAPTER_RANK` on all its linear
    layers meanwhile, trained at `ADAPTER_RATE` times the rate.

    Args:
        steps: optimizer steps after which to score; 0 is the copy as it is.
        share: of the records, drawn with the seed (the same ones for every model), that are trained on; at least one.
        step_size: records, or windows of long ones, in a step, each once before any comes again.
        batch_tokens: at once, as in `in_batches`.
        seed: of the draw and the order.
        max_length: as in `score_tokens`.
        progress: what progress bars on standard error begin with; None for no bars.

    Returns:
        A row for each step and record: record_id, relearned (bool: trained on), trained (`WEIGHTS` or `ADAPTERS`), step
        (int64), nll (per answer token, nats) and probability (float64).

    Raises:
        InputError: as `score_tokens`, or adapters are needed and PEFT is not installed.
    """
    if not records:
        return pd.DataFrame(columns=COLUMNS)
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(records))[: max(1, round(share * len(records)))]
    limit, names = context_length(model, max_length), [f"record {record.record_id}" for record in records]
    pairs = [record.context for record in records], [record.response for record in records]
    answers = encode_all(tokenizer, *pairs, limit, names)
    windows = [window for place in chosen for window in answers[place]]
    weights = sum(parameter.numel() for parameter in model.parameters())
    held = sum(parameter.nbytes for parameter in model.parameters())
    trains_all = holds_copy(weights, held, total_memory(model.device))
    with _copied(model) if trains_all else _adapted(model, seed) as relearner:
        frames = []
        for step in relearn(
            relearner,
            windows,
            steps=steps,
            learning_rate=learning_rate * (1 if trains_all else ADAPTER_RATE),
            step_size=step_size,
            random=random,
            pad_token_id=tokenizer.pad_token_id,
            progress=progress,
        ):
            scores = score_answers(
                make_scorer(relearner),
                tokenizer,
                *pairs,
                batch_tokens=batch_tokens,
                windows=answers,
                progress=progress and f"{progress}: score after step {step}",
            )
            frames.append(
                pd.DataFrame(
                    {
                        "record_id": [record.record_id for record in records],
                        "relearned": np.isin(np.arange(len(records)), chosen),
                        "trained": WEIGHTS if trains_all else ADAPTERS,
                        "step": step,
                        "nll": scores["nll"],
                        "probability": scores["probability"],
                    }
                )
            )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def relearn(
    model: nn.Module,
    windows: Sequence[Encoded],
    *,
    steps: Sequence[int],
    learning_rate: float,
    step_size: int,
    random: np.random.Generator,
    pad_token_id: int | None,
    progress: str | None = None,
) -> Iterator[int]:
    """Train what of a model can be trained, as the attack does; stops at each of `steps`, which it yields.

    Args:
        windows: what is trained on.
        steps, learning_rate, step_size, progress: as of `relearning`.
        random: of the order.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    device = trained[0].device
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    batches, done = _endless_batches(len(windows), step_size, random), 0
    for step in sorted(set(steps)):
        for _ in track(range(done, step), progress and f"{progress}: relearn to step {step}", "step"):
            inputs = collate([windows[place] for place in next(batches)], pad_token_id)
            model(**{name: tensor.to(device) for name, tensor in inputs.items()}, use_cache=False).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        done = step
        yield step


def holds_copy(weights: int, held: int, memory: int) -> bool:
    """Whether a device has the memory to relearn with all weights.

    Args:
        weights: how many.
        held: bytes of the model itself.
        memory: bytes of the device.
    """
    return held + BYTES_PER_WEIGHT * weights <= MEMORY_SHARE * memory


@contextmanager
def _copied(model: PreTrainedModel) -> Iterator[nn.Module]:
    yield copy.deepcopy(model).float().requires_grad_(True).eval()  # eval: no dropout, so no random state


@contextmanager
def _adapted(model: PreTrainedModel, seed: int) -> Iterator[nn.Module]:
    """The model with new adapters, which it is without afterwards."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError(
            "the attack relearning: memory does not hold a copy of all weights to train, and adapters need PEFT;"
            " pip install 'unilogit[lora]', or leave it out of evaluate.robustness.attacks"
        ) from None
    were_trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        settings = LoraConfig(r=ADAPTER_RANK, lora_alpha=2 * ADAPTER_RANK, target_modules="all-linear")
        adapted = get_peft_model(model, settings)
    try:
        yield adapted.eval()
    finally:
        adapted.unload()
        for parameter, was_trained in were_trained:
            parameter.requires_grad_(was_trained)


def _endless_batches(count: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Positions below `count`, `size` at a time: each once in a random order, then again in another."""
    while True:
        order = random.permutation(count)
        yield from (order[start : start + size] for start in range(0, count, size))
