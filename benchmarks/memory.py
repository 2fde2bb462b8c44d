"""Memory that unlearning takes on a GPU beside what `unilogit plan` tells of it, for each way to train.

    python -m benchmarks.memory --model llama-3.2-1b --length 256

Random weights in bfloat16 and random tokens; two optimiser steps by the trainer itself. Writes
benchmarks/results/memory-cuda.json for `python -m benchmarks.table`.
"""

import argparse
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from benchmarks.measure import RESULTS, write_result
from benchmarks.step import SIZES
from unilogit.bill import outline, training_memory
from unilogit.memory import give_back
from unilogit.model import load_model
from unilogit.training.config import UnlearnConfig
from unilogit.training.from_scratch import train_tokenizer
from unilogit.training.trainer import UnlearningTrainer

FORGET, RETAIN_PER_FORGET = 4, 2
WAYS: dict[str, dict[str, Any]] = {
    "all weights": {"accumulation": 1},
    "all weights, gradient checkpointing": {"accumulation": 1, "gradient_checkpointing": True},
    "all weights, in 4 micro-batches": {"accumulation": 4},
    "LoRA of rank 16": {"accumulation": 1, "lora_rank": 16},
    "LoRA of rank 16, gradient checkpointing": {"accumulation": 1, "lora_rank": 16, "gradient_checkpointing": True},
}


def make_pairs(count: int, tokenizer: PreTrainedTokenizerBase, length: int) -> list[tuple[str, str]]:
    """Pairs of random words, of just about `length` tokens each."""
    rng = random.Random(0)
    words = [f"{rng.randrange(1000):03d}" for _ in range(length)]
    tokens = len(tokenizer(" ".join(words))["input_ids"]) / length
    keep = int((length - 8) / tokens)
    texts = [" ".join(f"{rng.randrange(1000):03d}" for _ in range(keep)) for _ in range(count)]
    return [(text[: len(text) // 2], text[len(text) // 2 :]) for text in texts]


def measure(folder: Path, config: UnlearnConfig, length: int) -> dict[str, float]:
    """Bytes told, by what they are for, and the most that was allocated."""
    model, tokenizer = load_model(str(folder))
    pairs = make_pairs(4 * FORGET, tokenizer, length)
    trainer = UnlearningTrainer(
        model=model, tokenizer=tokenizer, forget=pairs[:FORGET], retain=pairs[FORGET:], config=config
    )
    examples = [row for place in range(len(trainer.examples)) for row in trainer.examples[place]]
    longest = max(len(row.example.ids) for row in examples)
    rows = trainer.args.per_device_train_batch_size * (1 + RETAIN_PER_FORGET)
    outlined = outline(str(folder), config, rows=rows, length=longest, bf16=trainer.args.bf16, further=False)
    told = training_memory(outlined, config, tokens=rows * longest, on_gpu=True)
    give_back()
    torch.cuda.reset_peak_memory_stats()
    trainer.run()
    return {"rows": rows, "length": longest, "told_bytes": sum(told.values()), "parts": told} | {
        "peak_bytes": torch.cuda.max_memory_allocated()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(SIZES), default="llama-3.2-1b")
    parser.add_argument("--length", type=int, default=256, help="tokens of a row")
    parser.add_argument("--out", type=Path, default=RESULTS / "memory-cuda.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; what training takes without one is checked by tests/test_bill.py")

    tokenizer = train_tokenizer([f"{number:03d}" for number in range(1000)], 2000)
    ways = {}
    with TemporaryDirectory() as folder:
        config = LlamaConfig(**SIZES[options.model], tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id)
        torch.manual_seed(0)
        with torch.device("cuda"):
            LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for name, knobs in WAYS.items():
            settings = UnlearnConfig(
                epochs=2, min_steps=2, batch_size=FORGET, retain_per_forget=RETAIN_PER_FORGET, **knobs
            )
            ways[name] = measure(Path(folder), settings, options.length)
            print(f"{name}: {ways[name]['peak_bytes'] / ways[name]['told_bytes']:.2f} of what is told", flush=True)
            give_back()
    write_result(options.out, "cuda", {"model": options.model, "ways": ways})
    print(options.out)


if __name__ == "__main__":
    main()
