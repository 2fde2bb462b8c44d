"""docs/tofu.md and its picture from results of benchmarks.tofu. Measures nothing."""

from pathlib import Path
from typing import Any

from tasks.report.names import number
from tasks.report.review import flatten

INTRODUCTION = """\
# Methods on TOFU

Written by `python -m benchmarks.table` from the files in `benchmarks/results/`; `python -m benchmarks.tofu --data DIR`
measures them again. A small Llama is trained on TOFU from scratch, once on all of it (*fine-tuned*) and once without
the forget set (*retain model*), and each method makes the first one forget. All methods have the
same learning rate, the same retain term beside them (where they have one) and the same early stop, and none was
tuned: this shows that metrics and methods work on real data, not which method is best on a large model.

Good is: forget quality (log10 of the p-value) near 0, probability, ROUGE-L and extraction strength of the forget set
as low as the retain model's, AUC near 0.5, PrivLeak near 0, divergence near 0, utility as high as before. Model
utility is low throughout: a model that was trained on TOFU alone knows neither real authors nor world facts, so that
the probability of retain answers tells more.
"""
COLUMNS = {
    "forget quality, log10 p": "forget_quality.log10_p_value",
    "model utility": "model_utility",
    "retain probability": "retain.probability",
    "forget probability": "forget.probability",
    "ROUGE-L recall": "forget.rouge_l_recall",
    "truth ratio": "forget.truth_ratio",
    "extraction strength": "forget.extraction_strength",
    "LOSS AUC": "membership_inference.loss_auc",
    "Min-K% AUC": "membership_inference.min_k_auc",
    "PrivLeak, %": "privleak",
    "KL from the retain model, nats": "retain_divergence.kl_retain_model_to_model",
    "relearned": "robustness.relearned_probability",
    "4-bit weights": "robustness.quantised_4_bit_probability",
    "best of 16, ROUGE-L": "robustness.sampling_rouge_l_recall",
}
COLORS = {"limit": "#999999", "ours": "#0072B2", "others": "#E69F00"}


def tofu_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.tofu as a table: a row for each model."""
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result["records"].items())
    speed = [model["generated_tokens"] / max(model["seconds"]["generate"], 1e-3) for model in result["models"].values()]
    size, settings = result["parameters"] / 1e6, ", ".join(result["settings"])
    lines = [
        f"## {result['split']}: {result['hardware']}",
        "",
        f"Llama of {size:.1f} million parameters; {settings}. Records: {counts}.",
        f"Generation at {min(speed):.0f} to {max(speed):.0f} tokens/s.",
        "",
        f"| | {' | '.join(COLUMNS)} |",
        f"| --- |{' ---: |' * len(COLUMNS)}",
    ]
    for name, metrics in result["models"].items():
        flat = flatten(metrics)
        lines.append(f"| {name} | {' | '.join(number(flat[path]) for path in COLUMNS.values())} |")
    return "\n".join(lines) + "\n"


def draw_tofu(results: list[dict[str, Any]], file: Path) -> None:
    """What was forgotten, whether an attacker can tell, and what was kept: a bar for each model."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    paths = ("forget_quality.log10_p_value", "membership_inference.loss_auc", "retain.probability")
    titles = ("forget quality, log10 of p", "LOSS attack, AUC", "retain probability")
    with rc_context({"svg.hashsalt": "tofu", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.6 * len(results)), layout="constrained")
        rows = figure.subplots(len(results), 3, squeeze=False, sharey="row")
        for panels, result in zip(rows, results, strict=True):
            models = result["models"]
            colors = [
                COLORS[
                    "limit" if name in ("fine-tuned", "retain model") else "ours" if name == "unilogit" else "others"
                ]
                for name in models
            ]
            for panel, path, title in zip(panels, paths, titles, strict=True):
                values = [flatten(metrics)[path] for metrics in models.values()]
                panel.bar_label(panel.barh(list(models), values, color=colors), fmt="%.2f", padding=2, fontsize=9)
                panel.set_title(title, loc="left", fontsize=11)
                panel.axvline(flatten(models["retain model"])[path], color=COLORS["limit"], linewidth=1, linestyle=":")
                panel.spines[["top", "right"]].set_visible(False)
            panels[0].set_xscale("symlog", linthresh=1)
            panels[0].margins(x=0.3)
            panels[0].invert_yaxis()
            for panel in panels[1:]:
                panel.set_xlim(0, 1.2)
            panels[0].set_xlabel(f"TOFU {result['split']}; dotted: the retain model")
        figure.savefig(file, metadata={"Date": None})


def write_tofu(results: list[dict[str, Any]], folder: Path) -> Path:
    """Write the page and its picture; where the page is."""
    draw_tofu(results, folder / "tofu.svg")
    picture = "![Forget quality, LOSS attack and retain probability of each method](tofu.svg)\n"
    page = folder / "tofu.md"
    page.write_text("\n".join([INTRODUCTION, picture, *map(tofu_section, results)]))
    return page
