"""The pictures of a run: before, after and golden target side by side, and how training went.

Draws numbers only; knows nothing of prompts, answers or people. Colours: Okabe and Ito, doi.org/10.1038/nmeth.1618.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unilogit.files import atomic_path, read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODELS = {"before": "before", "after": "after", "golden": "golden target"}
BARS = {"probability": "answer probability", "rouge_l_recall": "ROUGE-L recall"}

_COLORS = {"before": "#E69F00", "after": "#0072B2", "golden": "#009E73"}
_HATCHES = {"before": "//", "after": "", "golden": ".."}
_DASHES = {"before": "--", "after": "-", "golden": ":"}
_WIDTH = 7.0  # inches; with 12-point text readable on a phone


def draw_plots(workspace: Path) -> list[Path]:
    """Write plots/*.png of a workspace, one for each kind of number that is there.

    Reads evaluation/metrics.json, training.json and evaluation/models/*.parquet (columns `set` and
    `truth_ratio`).

    Returns:
        The files, in the order in which they are to be read.
    """
    drawers: dict[str, Callable[[Path], Figure | None]] = {
        "metrics": _draw_metrics,
        "training": _draw_training,
        "truth_ratio": _draw_truth_ratio,
    }
    files = []
    for name, draw in drawers.items():
        file = workspace / "plots" / f"{name}.png"
        figure = draw(workspace)
        if figure is None:
            file.unlink(missing_ok=True)
            continue
        with atomic_path(file) as temporary:
            figure.savefig(temporary, dpi=110, metadata={"Software": None})
        files.append(file)
    return files


def _stack(panels: int, height: float) -> tuple["Figure", list["Axes"]]:
    """A figure with its panels below each other. No pyplot: its global state does not suit threads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height * panels), layout="constrained")
    axes = list(figure.subplots(panels, 1, squeeze=False)[:, 0])
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=11)
    return figure, axes


def _draw_metrics(workspace: Path) -> "Figure | None":
    metrics = read_json(workspace / "evaluation" / "metrics.json")
    models = [model for model in MODELS if metrics.get(model)]
    sets = [
        name
        for name, values in metrics["after"].items()
        if isinstance(values, dict) and any(values.get(metric) is not None for metric in BARS)
    ]
    if not sets:
        return None
    figure, axes = _stack(len(BARS), 3.2)
    width = 0.8 / len(models)
    for panel, (metric, title) in zip(axes, BARS.items(), strict=True):
        for place, model in enumerate(models):
            measured = [
                (index, value)
                for index, name in enumerate(sets)
                if (value := (metrics[model].get(name) or {}).get(metric)) is not None
            ]
            bars = panel.bar(
                [index + (place - (len(models) - 1) / 2) * width for index, _ in measured],
                [value for _, value in measured],
                width,
                label=MODELS[model],
                color=_COLORS[model],
                hatch=_HATCHES[model],
                edgecolor="white",
            )
            panel.bar_label(bars, fmt="%.2f", fontsize=8, padding=1)
        panel.set_xticks(range(len(sets)), [name.replace("_", " ") for name in sets])
        panel.set_ylim(0, 1.08)
        panel.set_title(title, loc="left", fontsize=12)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _draw_training(workspace: Path) -> "Figure | None":
    file = workspace / "training.json"
    history = read_json(file)["history"] if file.exists() else []
    nll = sorted({key for entry in history for key in entry if key.endswith("_nll")})
    wanted = {
        "forget term of the loss": ["forget_loss"],
        "retain term of the loss": ["retain_loss"],
        "NLL per answer token (nats)": nll,
        "probability of retain answers": ["retain_probability"],
    }
    panels = {
        title: curves for title, keys in wanted.items() if (curves := {k: c for k in keys if (c := _curve(history, k))})
    }
    if not panels:
        return None
    figure, axes = _stack(len(panels), 2.2)
    styles = [("#0072B2", "-", "o"), ("#E69F00", "--", "s"), ("#009E73", ":", "^"), ("#CC79A7", "-.", "D")]
    for panel, (title, curves) in zip(axes, panels.items(), strict=True):
        for (key, points), (color, dashes, marker) in zip(curves.items(), styles, strict=False):
            steps, values = zip(*points, strict=True)
            label = key.removesuffix("_nll")
            panel.plot(steps, values, dashes, color=color, marker=marker, markersize=4, label=label)
        panel.set_title(title, loc="left", fontsize=12)
        if len(curves) > 1:
            panel.legend(frameon=False)
    axes[-1].set_xlabel("step")
    return figure


def _curve(history: list[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(entry["step"], entry[key]) for entry in history if entry.get(key) is not None and "step" in entry]


def _draw_truth_ratio(workspace: Path) -> "Figure | None":
    """Empirical distributions: forget quality is the distance between those of after and golden target."""
    import pandas as pd
    import pyarrow.parquet as pq

    ratios = {}
    for model in MODELS:
        file = workspace / "evaluation" / "models" / f"{model}.parquet"
        if file.exists() and {"set", "truth_ratio"} <= set(pq.read_schema(file).names):
            examples = pd.read_parquet(file, columns=["set", "truth_ratio"])
            values = examples.loc[examples["set"] == "forget", "truth_ratio"].dropna()
            if values.gt(0).any():
                ratios[model] = values[values > 0]
    if not ratios:
        return None
    figure, [panel] = _stack(1, 3.4)
    for model, values in ratios.items():
        panel.ecdf(values, label=MODELS[model], color=_COLORS[model], linestyle=_DASHES[model], linewidth=2)
    panel.set_xscale("log")
    panel.set_xlabel("truth ratio: P(wrong answers) / P(right answer)")
    panel.set_ylabel("share of forget examples at or below")
    panel.set_title("truth ratio on the forget set", loc="left", fontsize=12)
    panel.legend(frameon=False)
    return figure
