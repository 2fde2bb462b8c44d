"""The pages of docs/ that hold figures, and their pictures: `python -m benchmarks.table`.

Made of benchmarks/results.

Measures nothing.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks import flow_cost_table, scale_table
from benchmarks.batches_table import write_batches
from benchmarks.measure import RESULTS
from benchmarks.pools_table import write_gates
from benchmarks.real.page import write_page
from benchmarks.study_table import write_results
from benchmarks.tofu_table import write_tofu

DOCS = Path(__file__).parent.parent / "docs"
INTRODUCTION = """\
# Performance

Written by `python -m benchmarks.table` from the files in `benchmarks/results/`; `make bench` measures them
again on your machine and writes this page. Repeats are interleaved: each runs every variant once.

## Head and loss

One forward and backward pass from hidden states to the gradients of hidden states and head. *Bare products*
are the three matrix products that any exact method needs, over whole tensors: the limit. *Naive* is the
paper's definition step by step: full logits, modified logits, two softmaxes, KL. *One-pass* is
`fused_target_loss`, *recomputing* is `target_log_prob` with a loss on top. Peak memory is what is added to the
inputs, the gradients of hidden states and head included.

![Time and memory of each way to compute head and loss](performance.svg)
"""
STEP = """\
## A whole training step

Forward, backward and optimizer (AdamW) of a model of a real size with random weights, on the same tokens; half
of each row is answer. *Fine-tuning* is what transformers does with labels: logits of every token, then
cross-entropy. *One-pass* takes the answer tokens alone through `fused_target_loss`, as the trainer does;
*naive* is Unilogit's definition step by step.
"""
EVALUATION = """\
## Evaluation

All teacher-forced metrics of some answers (probability, memorisation, the four attacks that need one pass) beside
one plain forward pass of the model over the same tokens, in the same batches.
"""
THREADS = """\
## Beside other busy processes

An unlearning step of a model of the example's size, alone and beside a neighbour: the servers of `unilogit up` at
rest, a Python loop that never rests, or another training run. *Spinning* is what torch's threads do while they wait
for each other, *sleeping* is what unilogit has them do: look a thousand times first, which the figures below are
without. *One thread* waits for nobody (OMP_NUM_THREADS=1). A neighbour of one thread leaves two threads on two cores
a fair share of 1.33 cores. *Other cores* is what processes that are not part of the measurement had meanwhile, the
servers' children among them: far from 0 in other rows, the row says little.
"""
COLORS = {"limit": "#999999", "ours": "#0072B2", "others": "#E69F00"}


def about(result: dict[str, Any], shape: str) -> list[str]:
    """Heading, and what was measured with what."""
    where = f", {result['threads']} CPU threads" if result["device"] == "cpu" else ""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        f"### {result['hardware']}{where}",
        "",
        f"{shape}, {result['dtype']}; seconds over {result['repeats']} interleaved repeats; {versions}.",
        "",
    ]


def loss_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.loss as a table."""
    variants = result["variants"]
    limit, naive = variants["bare products"]["wall_seconds_median"], variants["naive Unilogit"]["peak_extra_bytes"]
    shape = f"{result['tokens']} tokens × {result['hidden']} hidden × {result['vocabulary']} vocabulary"
    lines = [
        *about(result, shape),
        "| | median s | minimum s | median ÷ bare products | peak extra MB | ÷ naive |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in variants.items():
        median, least, memory = (row[key] for key in ("wall_seconds_median", "wall_seconds_min", "peak_extra_bytes"))
        lines.append(
            f"| {name} | {median:.3g} | {least:.3g} | {median / limit:.2f} "
            f"| {memory / 1e6:.0f} | {memory / naive:.2f} |"
        )
    return "\n".join(lines) + "\n"


def step_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.step as a table."""
    shape = (
        f"{result['model']}, {result['forget']} forget rows with {result['retain_per_forget']} retain rows each, "
        f"{result['length']} tokens a row"
    )
    return ratios(result, shape, "fine-tuning")


def evaluation_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.evaluation as a table."""
    shape = (
        f"{result['examples']} answers, Llama of {result['layers']} layers × {result['hidden']} hidden, "
        f"{result['vocabulary']} vocabulary"
    )
    return ratios(result, shape, "plain forward pass")


def threads_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.threads as a table: everything against threads that sleep, alone."""
    rows = result["variants"]
    alone = rows["sleeping, alone"]["wall_seconds_median"]
    shape = (
        f"Llama of {result['num_hidden_layers']} layers × {result['hidden_size']} hidden, {result['forget']} forget "
        f"rows with {result['retain_per_forget']} retain rows each, {result['length']} tokens a row"
    )
    lines = [
        *about(result, shape),
        "| | median s | minimum s | median ÷ sleeping, alone | other cores |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        median, least = row["wall_seconds_median"], row["wall_seconds_min"]
        foreign = row["other_cores_median"]
        lines.append(f"| {name} | {median:.3g} | {least:.3g} | {median / alone:.2f} | {foreign:.2f} |")
    return "\n".join(lines) + "\n"


def ratios(result: dict[str, Any], shape: str, base: str) -> str:
    """Times of all variants, and how many times that of `base` they are."""
    plain = result["variants"][base]["wall_seconds_median"]
    lines = [
        *about(result, shape),
        f"| | median s | minimum s | median ÷ {base} |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, row in result["variants"].items():
        median, least = row["wall_seconds_median"], row["wall_seconds_min"]
        lines.append(f"| {name} | {median:.3g} | {least:.3g} | {median / plain:.2f} |")
    return "\n".join(lines) + "\n"


def draw(results: list[dict[str, Any]], file: Path) -> None:
    """Time over the limit and peak memory of every variant, a row of panels for each result."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "performance", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.6 * len(results)), layout="constrained")
        panels = figure.subplots(len(results), 2, squeeze=False, sharey="row")
        for (time, memory), result in zip(panels, results, strict=True):
            variants = result["variants"]
            limit = variants["bare products"]["wall_seconds_median"]
            colors = [
                COLORS["limit"] if name == "bare products" else COLORS["ours" if "one-pass" in name else "others"]
                for name in variants
            ]
            measured = {
                time: ("time ÷ bare products", [row["wall_seconds_median"] / limit for row in variants.values()]),
                memory: ("peak extra memory, GB", [row["peak_extra_bytes"] / 1e9 for row in variants.values()]),
            }
            for panel, (title, values) in measured.items():
                panel.bar_label(panel.barh(list(variants), values, color=colors), fmt="%.2f", padding=2, fontsize=9)
                panel.set_title(title, loc="left", fontsize=11)
                panel.margins(x=0.15)
                panel.spines[["top", "right"]].set_visible(False)
            time.axvline(1, color=COLORS["limit"], linewidth=1, linestyle=":")
            time.invert_yaxis()
            time.set_xlabel(f"{result['hardware']}: {result['tokens']} × {result['hidden']} × {result['vocabulary']}")
        figure.savefig(file, metadata={"Date": None})


def main() -> None:
    loss, step, evaluation, memory, threads, tofu, batches, flow_cost, ledger, extraction, pools, small, studies = (
        [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{kind}-*.json"))]
        for kind in (
            *("loss", "step", "evaluation", "memory", "threads", "tofu", "batches", "flow-cost", "ledger"),
            *("extraction", "pools", "small-batches", "study"),
        )
    )
    DOCS.mkdir(exist_ok=True)
    draw(loss, DOCS / "performance.svg")
    page = DOCS / "performance.md"
    parts = [INTRODUCTION, *map(loss_section, loss), STEP, *map(step_section, step)]
    parts += [EVALUATION, *map(evaluation_section, evaluation)]
    if memory:
        parts += [scale_table.MEMORY, *map(scale_table.memory_section, memory)]
    if threads:
        parts += [THREADS, *map(threads_section, threads)]
    if flow_cost:
        parts += [flow_cost_table.INTRODUCTION, *map(flow_cost_table.flow_cost_section, flow_cost)]
    if ledger:
        parts += [scale_table.LEDGER, *map(scale_table.ledger_section, ledger)]
    if extraction:
        parts += [scale_table.EXTRACTION, *map(scale_table.extraction_section, extraction)]
    page.write_text("\n".join(parts))
    print(page)
    if tofu:
        print(write_tofu(tofu, DOCS))
    if studies:
        print(write_results(studies, DOCS))
    if batches:
        print(write_batches(batches, DOCS))
    if pools:
        print(write_gates(pools, small, DOCS))
    write_page()


if __name__ == "__main__":
    main()
