"""Time of one whole training step, forward to optimizer, of a model of a real size with random weights.

    python -m benchmarks.step --model smollm2-135m --forget 4 --retain-per-forget 4 --length 64

Four steps on the same tokens, half of each row an answer: fine-tuning as transformers does it, fine-tuning with
the one-pass loss, Unilogit with the NLL retain term as the trainer does it, and Unilogit as others write it, with
full logits. Writes benchmarks/results/step-<device>.json for `python -m benchmarks.table`.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.measure import RESULTS, Seconds, interleaved, seconds, write_result
from unilogit.data.tokenisation import IGNORED
from unilogit.losses.registry import METHODS, RETAIN_TERMS
from unilogit.model import make_scorer
from unilogit.training.config import UnlearnConfig
from unilogit.training.examples import FORGET, RETAIN
from unilogit.training.unlearning_loss import Term, UnlearningLoss

RETAIN_WEIGHT = 1.0
SIZES = {
    "smollm2-135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "llama-3.2-1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}


def make_batch(options: argparse.Namespace, vocabulary: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    rows = options.forget * (1 + options.retain_per_forget)
    ids = torch.randint(vocabulary, (rows, options.length), device=options.device)
    labels = ids.clone()
    labels[:, : options.length // 2] = IGNORED
    role = torch.full((rows,), RETAIN, device=options.device)
    role[:: 1 + options.retain_per_forget] = FORGET
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "role": role}


def fine_tune(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """What transformers computes: all logits, then cross-entropy."""
    loss: Tensor = model(**{name: batch[name] for name in ("input_ids", "attention_mask", "labels")}).loss
    return loss


def with_one_pass(loss: UnlearningLoss, batch: dict[str, Tensor]) -> Tensor:
    counts = loss.count(batch["labels"], batch["role"]).tolist()
    scale = [weight / count for weight, count in zip((1.0, RETAIN_WEIGHT), counts, strict=False)]
    return loss(**batch, scale=scale)[0]


def naive_unilogit(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """The paper's definition, step by step, beside the mean NLL of the retain rows."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].float()
    labels, forget = batch["labels"][:, 1:], batch["role"] == FORGET
    answered = labels[forget] != IGNORED
    rows, target = logits[forget][answered], labels[forget][answered]
    with torch.no_grad():
        modified = rows.clone()
        rest = modified.scatter(1, target[:, None], float("-inf")).logsumexp(dim=1)
        modified.scatter_(1, target[:, None], (rest - math.log(rows.shape[1] - 1))[:, None])
        log_q = torch.log_softmax(modified, dim=1)
    unilogit = kl_div(log_q, torch.log_softmax(rows, dim=1), reduction="sum", log_target=True) / len(target)
    retain = cross_entropy(logits[~forget].flatten(0, 1), labels[~forget].flatten(), ignore_index=IGNORED)
    return unilogit + RETAIN_WEIGHT * retain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(SIZES), default="smollm2-135m")
    parser.add_argument("--forget", type=int, default=4, help="forget rows in the batch")
    parser.add_argument("--retain-per-forget", type=int, default=4)
    parser.add_argument("--length", type=int, default=64, help="tokens of a row")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the processor")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/step-<device>.json")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES[options.model], tie_word_embeddings=True)
    model: Any = LlamaForCausalLM(config).to(options.device, getattr(torch, options.dtype)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    batch, scorer = make_batch(options, config.vocab_size), make_scorer(model)
    unilogit, nll = (
        Term(method, method.bind(UnlearnConfig())) for method in (METHODS["unilogit"], RETAIN_TERMS["nll"])
    )
    all_forget = {**batch, "role": torch.full_like(batch["role"], FORGET)}

    losses: dict[str, Callable[[], Tensor]] = {
        "fine-tuning": partial(fine_tune, model, batch),
        "fine-tuning, one-pass": partial(with_one_pass, UnlearningLoss(scorer, forget=nll), all_forget),
        "Unilogit + NLL, one-pass": partial(with_one_pass, UnlearningLoss(scorer, forget=unilogit, retain=nll), batch),
        "Unilogit + NLL, naive": partial(naive_unilogit, model, batch),
    }

    def train(loss: Callable[[], Tensor]) -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    def timed(loss: Callable[[], Tensor]) -> Seconds:
        return seconds(partial(train, loss))

    shape = {key: getattr(options, key) for key in ("model", "forget", "retain_per_forget", "length", "dtype")}
    path = options.out or RESULTS / f"step-{options.device}.json"
    for repeats, times in interleaved({name: partial(timed, loss) for name, loss in losses.items()}, options.repeats):
        write_result(path, options.device, {**shape, "repeats": repeats, "variants": times})
    print(path)


if __name__ == "__main__":
    main()
