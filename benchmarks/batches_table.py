"""docs/batches.md and its picture from results of benchmarks.batches. Measures nothing."""

from pathlib import Path
from typing import Any

from tasks.report.names import number

INTRODUCTION = """\
# Batch after batch

Written by `python -m benchmarks.table`; `python -m benchmarks.batches` measures it again. Each batch asks to forget
some more of the example's people, is unlearned from the version before it, promoted and closed; then their records
leave the corpus. *Forget all* is everybody who was forgotten so far, from the snapshots of their batches. In brackets
is what the batch's own retain model has, which knows nobody of this batch; of PrivLeak, how far from 0 the gate lets it
be with so few records.
"""
COLUMNS = {
    "forget probability": "forget.probability",
    "forget all": "forget_all.probability",
    "relearned": "robustness.relearned_probability",
    "forget quality, log10 p": "forget_quality.log10_p_value",
    "LOSS AUC": "membership_inference.loss_auc",
    "PrivLeak, %": "privleak",
    "fluency NLL": "fluency.nll",
    "retain probability": "retain.probability",
    "world facts": "world_facts.probability",
}
KEPT, FORGOTTEN, BOUND = "#0072B2", "#E69F00", "#999999"  # colours


def batches_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.batches as a table: a row for each batch."""
    first, *_ = result["batches"]
    lines = [
        f"## {result['people']} people a batch: {result['hardware']}, {result['threads']} CPU threads",
        "",
        f"| batch | gates | utility ÷ start | {' | '.join(COLUMNS)} |",
        f"| ---: | --- | ---: |{' ---: |' * len(COLUMNS)}",
    ]
    for batch, row in enumerate(result["batches"]):
        share = row["model_utility"] / first["model_utility"]
        allowed = {**row.get("retain_model", {}), "privleak": row.get("allowed_leak")}
        values = [number(row.get(path)) + _bracketed(allowed.get(path)) for path in COLUMNS.values()]
        gates = ": ".join([row["gates"], *([", ".join(row["failed"])] if row.get("failed") else [])])
        lines.append(f"| {batch or 'start'} | {gates} | {share:.3f} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _bracketed(value: float | None) -> str:
    return "" if value is None else f" ({number(value)})"


def draw_batches(results: list[dict[str, Any]], file: Path) -> None:
    """Utility as a share of the start, and what is known of everybody forgotten so far, by batch."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "batches", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.6 * len(results)), layout="constrained")
        for (kept, known), result in zip(figure.subplots(len(results), 2, squeeze=False), results, strict=True):
            rows = result["batches"]
            utility = [row["model_utility"] / rows[0]["model_utility"] for row in rows]
            kept.plot(utility, marker="o", color=KEPT)
            kept.axhspan(0.95, 1.05, color=BOUND, alpha=0.2)
            kept.set_title("model utility ÷ start; grey: 5%", loc="left", fontsize=11)
            kept.set_ylim(0.8, 1.2)
            batches = range(1, len(rows))
            for name, color in (("forget_all.probability", KEPT), ("forget.probability", FORGOTTEN)):
                values = [row[name] for row in rows[1:]]
                known.plot(batches, values, marker="o", color=color, label=name.replace("_", " "))
            known.set_title("probability of forgotten answers", loc="left", fontsize=11)
            known.set_ylim(0, 0.2)
            known.legend(frameon=False)
            for panel in (kept, known):
                panel.set_xlabel(f"batches of {result['people']} people")
                panel.spines[["top", "right"]].set_visible(False)
        figure.savefig(file, metadata={"Date": None})


def write_batches(results: list[dict[str, Any]], folder: Path) -> Path:
    """Write page and picture; the page."""
    draw_batches(results, folder / "batches.svg")
    picture = "![Utility and what is known of the forgotten, batch after batch](batches.svg)\n"
    page = folder / "batches.md"
    page.write_text("\n".join([INTRODUCTION, picture, *map(batches_section, results)]))
    return page
