"""Is the answer gone, or only kept from being said? What each layer's output would say if it were the last.

The output of a layer goes through the model's last normalisation and its head, as that of the last one does. Unlearning
that changes the last layers alone leaves the answer in those before. Knows nothing of the other attacks. Source: Patil
et al. 2023, arxiv.org/abs/2309.17410, section 4; the lens is by nostalgebraist 2020.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unilogit.data.records import CorpusRecord
from unilogit.data.tokenisation import IGNORED, collate, encode_all
from unilogit.evaluation.batching import in_batches
from unilogit.evaluation.token_scores import inference
from unilogit.model import HeadScorer, context_length, make_scorer

COLUMNS = ["record_id", "layer", "probability"]
_ALL_LAYERS = 4  # times the memory of a token of which the outputs of all layers are kept


def logit_lens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[CorpusRecord],
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """Score each response by each layer.

    Args:
        batch_tokens, max_length: as in `score_tokens`.
        progress: what a progress bar on standard error begins with; None for no bar.

    Returns:
        A row for each record and layer: record_id, layer (int64, from 1) and probability (float64: exp of the mean log
        probability of the response's tokens, its end included, as of `score_answers`). The last layer's is what the
        model says. No rows for a model owner logits are more than its head's output.

    Raises:
        InputError: as `score_tokens`.
    """
    scorer = make_scorer(model)
    if not records or not isinstance(scorer, HeadScorer):
        return pd.DataFrame(columns=COLUMNS)
    names = [f"record {record.record_id}" for record in records]
    pairs = [record.context for record in records], [record.response for record in records]
    answers = encode_all(tokenizer, *pairs, context_length(model, max_length), names)
    owners = [place for place, windows in enumerate(answers) for _ in windows]
    windows = [window for answer in answers for window in answer]
    sums, counts = np.zeros((len(records), scorer.layers)), np.zeros(len(records))

    def score(batch: list[int]) -> None:
        inputs = collate([windows[number] for number in batch], tokenizer.pad_token_id)
        states = scorer.hidden_states(inputs["input_ids"].to(model.device), inputs["attention_mask"].to(model.device))
        row, place = (inputs["labels"][:, 1:] != IGNORED).nonzero(as_tuple=True)
        target = inputs["labels"][row, place + 1].to(model.device)
        row, place = row.to(model.device), place.to(model.device)
        log_p = []
        for layer, state in enumerate(states, start=1):
            rows = state[row, place]
            rows = rows if layer == scorer.layers else cast("Tensor", norm(rows))
            log_p.append(scorer.within_head(scorer.score_targets, rows, target).log_p.double().cpu().numpy())
        owner = np.array([owners[number] for number in batch])[row.cpu().numpy()]
        np.add.at(sums, owner, np.stack(log_p, axis=1))
        np.add.at(counts, owner, 1)

    with inference(model):
        norm = _last_norm(scorer)
        in_batches(
            score,
            [_ALL_LAYERS * len(window.ids) for window in windows],
            model,
            batch_tokens,
            progress and f"{progress}: score by each layer",
        )
    return pd.DataFrame(
        {
            "record_id": np.repeat([record.record_id for record in records], scorer.layers),
            "layer": np.tile(np.arange(1, scorer.layers + 1, dtype=np.int64), len(records)),
            "probability": np.exp(sums / counts[:, None]).ravel(),
        }
    )


def _last_norm(scorer: HeadScorer) -> nn.Module:
    """What the body does to the last layer's output: found by running it, as its name is another in each model."""
    outputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            outputs[module] = output

    hooks = [module.register_forward_hook(keep) for module in scorer.body.children()]
    try:
        ids = torch.zeros((1, 2), dtype=torch.int64, device=scorer.model.device)
        last = scorer.features(ids, torch.ones_like(ids)).rows
    finally:
        for hook in hooks:
            hook.remove()
    ends = [module for module, output in outputs.items() if output.shape == last.shape and torch.equal(output, last)]
    return ends[-1] if ends else nn.Identity()
