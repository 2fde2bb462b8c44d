"""The pictures of a run: before, after and golden target side by side, attacks on them, and how training went.

Draws numbers only; knows nothing of prompts, answers or people. Colours: Okabe and Ito, doi.org/10.1038/nmeth.1618.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unilogit.files import atomic_path, read_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODELS = {"before": "before", "after": "after", "golden": "golden target"}
BARS = {"probability": "answer probability", "rouge_l_recall": "ROUGE-L recall"}
ROC = {"attack_loss": "LOSS attack", "attack_min_k": "Min-K% attack"}
ROBUSTNESS = {  # attack → title, what x is, which of BARS y is
    "relearning": ("relearning", "steps of fine-tuning", "probability"),
    "quantisation": ("quantisation", "bits of a weight", "probability"),
    "paraphrased_prompts": ("paraphrased prompts", "wording", "probability"),
    "prefix_attack": ("prefix attack", "answer tokens given", "rouge_l_recall"),
    "sampling": ("sampling", "answers drawn, best counts", "rouge_l_recall"),
}

_COLORS = {"before": "#E69F00", "after": "#0072B2", "golden": "#009E73"}
_HATCHES = {"before": "//", "after": "", "golden": ".."}
_DASHES = {"before": "--", "after": "-", "golden": ":"}
_MARKERS = {"before": "s", "after": "o", "golden": "^"}
_WIDTH, _DPI = 5.6, 140  # inches; with 11-point text readable on a phone


def draw_plots(workspace: Path) -> list[Path]:
    """Write plots/*.png of a workspace, one for each kind of number that is there.

    Reads evaluation/metrics.json, training.json, evaluation/models/*.parquet (columns `set`, `truth_ratio` and
    those of ROC) and, where they are, evaluation/baselines.csv (name, forget_probability, model_utility) and
    evaluation/robustness/*.csv (model, x, value: the mean at a point).

    Returns:
        The files, in the order in which they are to be read.
    """
    drawers: dict[str, Callable[[Path], Figure | None]] = {
        "metrics": _draw_metrics,
        "plane": _draw_plane,
        "roc": _draw_roc,
        "truth_ratio": _draw_truth_ratio,
        "robustness": _draw_robustness,
        "training": _draw_training,
    }
    files = []
    for name, draw in drawers.items():
        file = workspace / "plots" / f"{name}.png"
        figure = draw(workspace)
        if figure is None:
            file.unlink(missing_ok=True)
            continue
        with atomic_path(file) as temporary:
            figure.savefig(temporary, dpi=_DPI, metadata={"Software": None})
        files.append(file)
    return files


def _panels(count: int, height: float, columns: int = 1) -> tuple["Figure", list["Axes"]]:
    """A figure and its panels, row by row. No pyplot: its global state does not suit threads."""
    from matplotlib.figure import Figure

    rows = -(-count // columns)
    figure = Figure(figsize=(_WIDTH, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    for panel in axes[:count]:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=10)
    return figure, axes[:count]


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
    figure, axes = _panels(len(BARS), 3.2)
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
        panel.set_xlim(-0.5, len(sets) - 0.5)
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
    figure, axes = _panels(len(panels), 2.2)
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
    ratios = {}
    for model, examples in _examples(workspace, ["truth_ratio"]).items():
        values = examples.loc[examples["set"] == "forget", "truth_ratio"].dropna()
        if values.gt(0).any():
            ratios[model] = values[values > 0]
    if not ratios:
        return None
    figure, [panel] = _panels(1, 3.4)
    for model, values in ratios.items():
        panel.ecdf(values, label=MODELS[model], color=_COLORS[model], linestyle=_DASHES[model], linewidth=2)
    panel.set_xscale("log")
    panel.set_xlabel("truth ratio: P(wrong answers) / P(right answer)")
    panel.set_ylabel("share of forget examples at or below")
    panel.set_title("truth ratio on the forget set", loc="left", fontsize=12)
    panel.legend(frameon=False)
    return figure


def _examples(workspace: Path, columns: list[str]) -> "dict[str, pd.DataFrame]":
    """Model → `set` and `columns` of its examples, for the models that have them."""
    import pandas as pd
    import pyarrow.parquet as pq

    files = {model: workspace / "evaluation" / "models" / f"{model}.parquet" for model in MODELS}
    wanted = ["set", *columns]
    return {
        model: pd.read_parquet(file, columns=wanted)
        for model, file in files.items()
        if file.exists() and set(wanted) <= set(pq.read_schema(file).names)
    }


def _draw_roc(workspace: Path) -> "Figure | None":
    """Forgotten people against unseen ones; a low score says that the model was trained on it."""
    from sklearn.metrics import auc, roc_curve

    curves: dict[str, dict[str, tuple[Any, Any]]] = {}
    for column in ROC:
        for model, examples in _examples(workspace, [column]).items():
            scored = examples[examples["set"].isin(["forget", "holdout"])].dropna(subset=column)
            if scored["set"].nunique() == 2:
                false, true, _ = roc_curve(scored["set"] == "forget", -scored[column])
                curves.setdefault(column, {})[model] = false, true
    if not curves:
        return None
    figure, axes = _panels(len(curves), 3.4)
    for panel, (column, lines) in zip(axes, curves.items(), strict=True):
        for model, (false, true) in lines.items():
            label = f"{MODELS[model]}, AUC {auc(false, true):.2f}"
            panel.plot(false, true, _DASHES[model], color=_COLORS[model], linewidth=2, label=label)
        panel.plot([0, 1], [0, 1], color="#999999", linewidth=1, zorder=0)
        panel.set_title(ROC[column], loc="left", fontsize=12)
        panel.set_ylabel("forgotten taken for members")
        panel.legend(frameon=False, loc="lower right")
    axes[-1].set_xlabel("unseen taken for members")
    return figure


def _draw_robustness(workspace: Path) -> "Figure | None":
    import pandas as pd

    folder = workspace / "evaluation" / "robustness"
    tables = {
        attack: table
        for attack in ROBUSTNESS
        if (folder / f"{attack}.csv").exists()
        and len(table := pd.read_csv(folder / f"{attack}.csv").dropna(subset=["x", "value"]))
    }
    if not tables:
        return None
    figure, axes = _panels(len(tables), 2.6, columns=min(2, len(tables)))
    for panel, (attack, table) in zip(axes, tables.items(), strict=True):
        places = list(dict.fromkeys(table["x"]))
        if pd.api.types.is_numeric_dtype(table["x"]):
            places.sort(reverse=attack == "quantisation")  # every attack grows stronger to the right
        for model, name in MODELS.items():
            points = table[table["model"] == model].groupby("x")["value"].mean()
            line = [(place, points[x]) for place, x in enumerate(places) if x in points.index]
            style: Any = {"color": _COLORS[model], "linestyle": _DASHES[model], "marker": _MARKERS[model]}
            if line:
                panel.plot(*zip(*line, strict=True), label=name, markersize=4, **style)
        title, of_x, of_y = ROBUSTNESS[attack]
        panel.set_xticks(range(len(places)), [x if isinstance(x, str) else f"{x:g}" for x in places])
        panel.set_xlim(-0.4, len(places) - 0.6)
        panel.set_ylim(-0.03, 1.03)
        panel.set_xlabel(of_x)
        panel.set_ylabel(BARS[of_y])
        panel.set_title(title, loc="left", fontsize=12)
    shown = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _draw_plane(workspace: Path) -> "Figure | None":
    """What was forgotten (left) against what was kept (up), beside other methods where there are any."""
    import pandas as pd

    metrics = read_json(workspace / "evaluation" / "metrics.json")
    points: list[tuple[str, float, float, Any]] = []
    for model, title in MODELS.items():
        values = metrics.get(model) or {}
        forget, utility = (values.get("forget") or {}).get("probability"), values.get("model_utility")
        if forget is not None and utility is not None:
            style = {"color": _COLORS[model], "marker": _MARKERS[model], "s": 110, "zorder": 3}
            points.append((title, forget, utility, style))
    file = workspace / "evaluation" / "baselines.csv"
    if file.exists():
        others = pd.read_csv(file)[["name", "forget_probability", "model_utility"]].dropna()
        for place, (name, forget, utility) in enumerate(others.itertuples(index=False)):
            style = {"color": ("#CC79A7", "#56B4E9", "#777777")[place % 3], "marker": "DvPX*<>hp"[place % 9]}
            style |= {"s": 40, "zorder": 4}  # small and on top: good methods lie close together
            points.append((str(name), forget, utility, style))
    if not points:
        return None
    figure, [panel] = _panels(1, 3.6 + 0.12 * len(points))
    for name, forget, utility, style in points:
        panel.scatter(forget, utility, label=name, **style)
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlabel("probability of forget answers: left is forgotten")
    panel.set_ylabel("model utility: up is kept")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
