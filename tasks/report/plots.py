"""The pictures of a run: before, after and retain model side by side, attacks on them, and how training went.

Draws numbers only; knows nothing of prompts, answers or people. Colours: Okabe and Ito, doi.org/10.1038/nmeth.1618.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tasks.report.names import MODELS, metric_title, short_title
from tasks.report.review import Review
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.workspace import Place, Workspace
from unilogit.files import atomic_path

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = ("probability", "rouge_l_recall")
ROC = {"attack_loss": "LOSS attack", "attack_min_k": "Min-K% attack"}
ROBUSTNESS = {  # attack → title, what x is, which metric y is
    "relearning": ("relearning", "steps of fine-tuning", "probability"),
    "quantisation": ("quantisation", "bits of a weight", "probability"),
    "paraphrased_prompts": ("paraphrased prompts", "wording", "probability"),
    "question_formats": ("question formats", "form of answer", "probability"),
    "clues": ("clues", "other questions answered before", "probability"),
    "prefix_attack": ("prefix attack", "answer tokens given", "rouge_l_recall"),
    "sampling": ("sampling", "answers drawn, best counts", "rouge_l_recall"),
    "logit_lens": ("logit lens", "layer", "probability"),
}

_COLORS = {PARENT: "#E69F00", UNLEARNED: "#0072B2", RETAIN_MODEL: "#009E73"}
_HATCHES = {PARENT: "//", UNLEARNED: "", RETAIN_MODEL: ".."}
_DASHES = {PARENT: "--", UNLEARNED: "-", RETAIN_MODEL: ":"}
_MARKERS = {PARENT: "s", UNLEARNED: "o", RETAIN_MODEL: "^"}
_BASELINE_COLORS, _BASELINE_MARKERS = ("#CC79A7", "#56B4E9", "#777777"), "DvPX*<>hp"
_CURVES = (("#0072B2", "-", "o"), ("#E69F00", "--", "s"), ("#009E73", ":", "^"), ("#CC79A7", "-.", "D"))
_WIDTH, _DPI = 5.6, 140  # inches; with 11-point text readable on a phone


def draw_plots(workspace: Workspace, review: Review) -> list[Path]:
    """Write the pictures of a workspace, one for each kind of number that is there.

    Reads, beside the review, the rows of each model's records (columns `set`, `truth_ratio` and those of ROC) and,
    where they are, `Place.BASELINES` (name, forget_probability, model_utility) and the curves of attacks (model, x,
    value: the mean at a point).

    Args:
        review: of this workspace.

    Returns:
        The files, in the order in which they are to be read.
    """
    drawers: dict[str, Callable[[Workspace, Review], Figure | None]] = {
        "metrics": _draw_metrics,
        "plane": _draw_plane,
        "roc": _draw_roc,
        "truth_ratio": _draw_truth_ratio,
        "robustness": _draw_robustness,
        "training": _draw_training,
    }
    files = []
    for name, draw in drawers.items():
        file = workspace.path(Place.PLOTS, f"{name}.png")
        figure = draw(workspace, review)
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


def _share_legend(
    figure: "Figure", axes: Sequence["Axes"], place: Literal["outside upper center", "outside lower center"]
) -> None:
    """One legend of what any panel shows."""
    handles = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc=place, ncols=3, frameon=False)


def _draw_metrics(workspace: Workspace, review: Review) -> "Figure | None":
    rows = {metric: [row for name in review.sections if (row := review.row(name, metric))] for metric in BARS}
    measured = [row for metric in BARS for row in rows[metric] if row.values[UNLEARNED] is not None]
    sets = [name for name in review.sections if any(row.section == name for row in measured)]
    if not sets:
        return None
    roles = [role for role in MODELS if any(row.values[role] is not None for row in measured)]
    figure, axes = _panels(len(BARS), 3.2)
    width = 0.8 / len(roles)
    for panel, metric in zip(axes, BARS, strict=True):
        for place, role in enumerate(roles):
            values = [
                (sets.index(row.section), value)
                for row in rows[metric]
                if row.section in sets and (value := row.values[role]) is not None
            ]
            bars = panel.bar(
                [index + (place - (len(roles) - 1) / 2) * width for index, _ in values],
                [value for _, value in values],
                width,
                label=MODELS[role],
                color=_COLORS[role],
                hatch=_HATCHES[role],
                edgecolor="white",
            )
            panel.bar_label(bars, fmt="%.2f", fontsize=8, padding=1)
        panel.set_xticks(range(len(sets)), [short_title(name) for name in sets])
        panel.set_xlim(-0.5, len(sets) - 0.5)
        panel.set_ylim(0, 1.08)
        panel.set_title(metric_title(metric), loc="left", fontsize=12)
    _share_legend(figure, axes, "outside upper center")
    return figure


def _draw_training(workspace: Workspace, review: Review) -> "Figure | None":
    history = review.training.history
    watched = {
        "forget term of the loss": ["forget_loss"],
        "retain term of the loss": ["retain_loss"],
        "NLL per answer token (nats)": sorted({key for entry in history for key in entry if key.endswith("_nll")}),
        "probability of retain answers": ["retain_probability"],
    }
    panels = {
        title: curves
        for title, keys in watched.items()
        if (curves := {key: curve for key in keys if (curve := _curve(history, key))})
    }
    if not panels:
        return None
    figure, axes = _panels(len(panels), 2.2)
    for panel, (title, curves) in zip(axes, panels.items(), strict=True):
        for (key, points), (color, dashes, marker) in zip(curves.items(), _CURVES, strict=False):
            steps, values = zip(*points, strict=True)
            label = key.removesuffix("_nll")
            panel.plot(steps, values, dashes, color=color, marker=marker, markersize=4, label=label)
        panel.set_title(title, loc="left", fontsize=12)
        panel.locator_params("x", integer=True, min_n_ticks=1)  # there is no half a step
        if len(curves) > 1:
            panel.legend(frameon=False)
    axes[-1].set_xlabel("step")
    return figure


def _curve(history: Sequence[dict[str, float]], key: str) -> list[tuple[float, float]]:
    return [(entry["step"], entry[key]) for entry in history if key in entry and "step" in entry]


def _draw_truth_ratio(workspace: Workspace, review: Review) -> "Figure | None":
    """Empirical distributions: forget quality is the distance between those of after and retain model."""
    ratios = {}
    for role, examples in _examples(workspace, "truth_ratio").items():
        values = examples.loc[examples["set"] == "forget", "truth_ratio"].dropna()
        if values.gt(0).any():
            ratios[role] = values[values > 0]
    if not ratios:
        return None
    figure, [panel] = _panels(1, 3.4)
    for role, values in ratios.items():
        panel.ecdf(values, label=MODELS[role], color=_COLORS[role], linestyle=_DASHES[role], linewidth=2)
    panel.set_xscale("log")
    panel.set_xlabel("truth ratio: P(wrong answers) / P(right answer)")
    panel.set_ylabel("share of forget examples at or below")
    panel.set_title("truth ratio on the forget set", loc="left", fontsize=12)
    panel.legend(frameon=False)
    return figure


def _examples(workspace: Workspace, column: str) -> "dict[str, pd.DataFrame]":
    """Role → `set` and one other column of its examples, for the models that have it."""
    import pandas as pd
    import pyarrow.parquet as pq

    files = {role: workspace.measured(role)[1] for role in MODELS}
    return {
        role: pd.read_parquet(file, columns=["set", column])
        for role, file in files.items()
        if file.exists() and {"set", column} <= set(pq.read_schema(file).names)
    }


def _draw_roc(workspace: Workspace, review: Review) -> "Figure | None":
    """Forgotten people against unseen ones; a low score says that the model was trained on it."""
    from sklearn.metrics import auc, roc_curve

    curves: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for column in ROC:
        for role, examples in _examples(workspace, column).items():
            scored = examples[examples["set"].isin(["forget", "holdout"])].dropna(subset=column)
            if scored["set"].nunique() == 2:
                false, true, _ = roc_curve(scored["set"] == "forget", -scored[column])
                curves.setdefault(column, {})[role] = false, true
    if not curves:
        return None
    figure, axes = _panels(len(curves), 3.4)
    for panel, (column, lines) in zip(axes, curves.items(), strict=True):
        for role, (false, true) in lines.items():
            label = f"{MODELS[role]}, AUC {auc(false, true):.2f}"
            panel.plot(false, true, _DASHES[role], color=_COLORS[role], linewidth=2, label=label)
        panel.plot([0, 1], [0, 1], color="#999999", linewidth=1, zorder=0)
        panel.set_title(ROC[column], loc="left", fontsize=12)
        panel.set_ylabel("forgotten taken for members")
        panel.legend(frameon=False, loc="lower right")
    axes[-1].set_xlabel("unseen taken for members")
    return figure


def _draw_robustness(workspace: Workspace, review: Review) -> "Figure | None":
    import pandas as pd

    tables = {
        attack: table
        for attack in ROBUSTNESS
        if (file := workspace.attack_curve(attack)).exists()
        and len(table := pd.read_csv(file).dropna(subset=["x", "value"]))
    }
    if not tables:
        return None
    figure, axes = _panels(len(tables), 2.6, columns=min(2, len(tables)))
    for panel, (attack, table) in zip(axes, tables.items(), strict=True):
        title, x_title, metric = ROBUSTNESS[attack]
        points = list(dict.fromkeys(table["x"]))
        if pd.api.types.is_numeric_dtype(table["x"]):
            points.sort(reverse=attack == "quantisation")  # every attack grows stronger to the right
        for role, name in MODELS.items():
            means = table[table["model"] == role].groupby("x")["value"].mean()
            places = [place for place, point in enumerate(points) if point in means.index]
            if places:
                panel.plot(
                    places,
                    [means[points[place]] for place in places],
                    label=name,
                    color=_COLORS[role],
                    linestyle=_DASHES[role],
                    marker=_MARKERS[role],
                    markersize=4,
                )
        panel.set_xticks(range(len(points)), [point if isinstance(point, str) else f"{point:g}" for point in points])
        panel.set_xlim(-0.4, len(points) - 0.6)
        panel.set_ylim(-0.03, 1.03)
        panel.set_xlabel(x_title)
        panel.set_ylabel(metric_title(metric))
        panel.set_title(title, loc="left", fontsize=12)
    _share_legend(figure, axes, "outside upper center")
    return figure


def _draw_plane(workspace: Workspace, review: Review) -> "Figure | None":
    """What was forgotten (left) against what was kept (up), beside other methods where there are any."""
    import pandas as pd

    points: list[tuple[str, float, float, str, str, int]] = []  # title, x, y, colour, marker, area
    forget, utility = review.row("forget", "probability"), review.row("model_utility", "model_utility")
    for role, title in MODELS.items():
        x, y = (row.values[role] if row else None for row in (forget, utility))
        if x is not None and y is not None:
            points.append((title, x, y, _COLORS[role], _MARKERS[role], 110))
    file = workspace.path(Place.BASELINES)
    if file.exists():
        baselines = pd.read_csv(file)[["name", "forget_probability", "model_utility"]].dropna()
        for place, (name, x, y) in enumerate(baselines.itertuples(index=False)):
            color, marker = _BASELINE_COLORS[place % 3], _BASELINE_MARKERS[place % 9]
            points.append((str(name), x, y, color, marker, 40))
    if not points:
        return None
    figure, [panel] = _panels(1, 3.6 + 0.12 * len(points))
    for place, (title, x, y, color, marker, area) in enumerate(points):
        # Baselines are small and on top: good methods lie close together.
        panel.scatter(x, y, label=title, color=color, marker=marker, s=area, zorder=3 + place)
    panel.set_xlim(-0.03, 1.03)
    panel.set_ylim(-0.03, 1.03)
    panel.set_xlabel("probability of forget answers: left is forgotten")
    panel.set_ylabel("model utility: up is kept")
    _share_legend(figure, [panel], "outside lower center")
    return figure
