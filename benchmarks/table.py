"""docs/performance.md from benchmarks/results/loss-*.json: `python -m benchmarks.table`. Measures nothing."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
INTRODUCTION = """\
# Performance

Time and memory of one forward and backward pass through head and loss, from hidden states to the gradients
of hidden states and head. Written by `python -m benchmarks.table` from the files that
`python -m benchmarks.loss` leaves in `benchmarks/results/`; run both to have these figures for your machine.

*Bare products* are the three matrix products that any exact method needs, over whole tensors: the limit.
*Naive* is the paper's definition step by step: full logits, modified logits, two softmaxes, KL. *One-pass* is
`fused_target_loss`, *recomputing* is `target_log_prob` with a loss on top. Peak memory is what is added to the
inputs, the gradients of hidden states and head included.
"""


def section(result: dict[str, Any]) -> str:
    """One result file as a heading and a table."""
    variants = result["variants"]
    kind = "wall" if result["device"] == "cuda" or result["threads"] > 1 else "processor"
    limit, naive = variants["bare products"], variants["naive Unilogit"]
    lines = [
        f"## {result['hardware']}, {result['threads']} CPU threads"
        if result["device"] == "cpu"
        else f"## {result['hardware']}",
        "",
        f"{result['tokens']} tokens × {result['hidden']} hidden × {result['vocabulary']} vocabulary, "
        f"{result['dtype']}; "
        f"{kind} seconds over {result['repeats']} interleaved repeats; "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + ".",
        "",
        "| | median s | minimum s | median ÷ bare products | peak extra MB | ÷ naive |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in variants.items():
        median, least = row[f"{kind}_seconds_median"], row[f"{kind}_seconds_min"]
        memory = row["peak_extra_bytes"]
        lines.append(
            f"| {name} | {median:.3g} | {least:.3g} | {median / limit[f'{kind}_seconds_median']:.2f} "
            f"| {memory / 1e6:.0f} | {memory / naive['peak_extra_bytes']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    results = [json.loads(path.read_text()) for path in sorted((ROOT / "benchmarks" / "results").glob("loss-*.json"))]
    page = ROOT / "docs" / "performance.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n".join([INTRODUCTION, *map(section, results)]))
    print(page)


if __name__ == "__main__":
    main()
