"""Time of all teacher-forced metrics of 400 answers beside that of one plain forward pass over the same tokens.

    python -m benchmarks.evaluation --examples 400

The plain pass is the model's own, in the same batches, with logits of every token and no metric. Random weights
and texts. Writes benchmarks/results/evaluation-<device>.json for `python -m benchmarks.table`.
"""

import argparse
import random
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.measure import RESULTS, interleaved, seconds, write_result
from unilogit.data.tokenisation import collate, encode_pair
from unilogit.evaluation.batching import fixed_batches
from unilogit.evaluation.membership_inference import attack_scores
from unilogit.evaluation.memorisation import exact_memorisation, extraction_strength
from unilogit.evaluation.token_scores import score_tokens
from unilogit.training.from_scratch import train_tokenizer

Pairs = list[tuple[str, str]]


def make_pairs(count: int) -> Pairs:
    """Questions of some 15 words and answers of some 25, as long as TOFU's."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 5))) for _ in range(3000)]

    def text(shortest: int, longest: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(shortest, longest)))

    return [(text(8, 20), text(10, 40)) for _ in range(count)]


def plain_pass(model: Any, tokenizer: Any, pairs: Pairs, batch_tokens: int) -> None:
    encoded = [encode_pair(tokenizer, *pair) for pair in pairs]
    with torch.no_grad():
        for batch in fixed_batches([len(ids) for ids, _ in encoded], batch_tokens):
            inputs = collate([encoded[place] for place in batch], tokenizer.pad_token_id)
            model(
                input_ids=inputs["input_ids"].to(model.device), attention_mask=inputs["attention_mask"].to(model.device)
            )


def all_metrics(model: Any, tokenizer: Any, pairs: Pairs, batch_tokens: int) -> None:
    prompts, answers = zip(*pairs, strict=True)
    for tokens, answer in zip(
        score_tokens(model, tokenizer, prompts, answers, batch_tokens=batch_tokens, with_distribution=True),
        answers,
        strict=True,
    ):
        attack_scores(tokens, answer)
        inner = tokens.without_end()
        exact_memorisation(inner.is_greedy)
        extraction_strength(inner.is_greedy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=400)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=32000, help="that the head scores")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/evaluation-<device>.json")
    options = parser.parse_args()

    pairs = make_pairs(options.examples)
    tokenizer = train_tokenizer([text for pair in pairs for text in pair], 2000)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.hidden,
        intermediate_size=3 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        pad_token_id=0,
    )
    model: Any = LlamaForCausalLM(config).eval().to(options.device)
    variants = {"plain forward pass": plain_pass, "all teacher-forced metrics": all_metrics}
    steps = {
        name: partial(seconds, partial(function, model, tokenizer, pairs, options.batch_tokens))
        for name, function in variants.items()
    }
    shape = {name: getattr(options, name) for name in ("examples", "hidden", "layers", "vocabulary", "batch_tokens")}
    path = options.out or RESULTS / f"evaluation-{options.device}.json"
    for repeats, times in interleaved(steps, options.repeats):
        write_result(path, options.device, {**shape, "dtype": "float32", "repeats": repeats, "variants": times})
    print(path)


if __name__ == "__main__":
    main()
