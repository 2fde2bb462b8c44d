"""docs/results.md and its pictures from results of benchmarks.study. Measures nothing."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.report.names import number
from tasks.report.review import flatten
from tasks.study.measuring import FULL, RETAINED, SECOND
from tasks.study.plan import DEFAULT

INTRODUCTION = """\
# Methods, tuned alike

Written by `python -m benchmarks.table` from studies; `unilogit study` makes one, `python -m benchmarks.study` with the
same options keeps it. Every method has as many trials as any other, from the same learning rates, epochs and retain
weights, on the first seed; the trial is taken that does best on records that are in no measured set: |2·AUC − 1| of
the LOSS attack, forget set against unseen people, and what was lost of retained answers. All have the same early stop
against unseen people, and pause on what is forgotten. *unilogit, as shipped* is the recipe of `params.yaml` with
nothing tuned. Each is then run on every seed, whose models are trained with it, and measured beside the retain model
of that seed; the *retain model of another seed* says what chance alone does. Values are means over seeds ± their
standard deviation.

Good is: forget quality p above 0.05, PrivLeak near 0, answers to the forgotten as fluent (NLL, nats) as the retain
model's, relearned no further than the retain model, utility and retained answers as before. *All five* counts the
seeds on which a method has forget quality p > 0.05, model utility ≥ 0.95 of before, |PrivLeak| < 10 or within what the
two retain models differ by, relearning ≤ the retain model's + 0.10, and answers no less fluent than the retain model's
by 1 nat. Times are of whole runs, beside whatever else the machine did. *Gates* are those on forgetting in
`params.yaml`.
"""
COLUMNS = {
    "forget quality, log10 p": "forget_quality.log10_p_value",
    "PrivLeak, %": "privleak",
    "LOSS AUC": "membership_inference.loss_auc",
    "forget probability": "forget.probability",
    "relearned": "robustness.relearned_probability",
    "4-bit weights": "robustness.quantised_4_bit_probability",
    "fluency NLL": "fluency.nll",
    "retain probability": "retain.probability",
}
UTILITY = "model utility ÷ before"
CLOSE, SLACK, FLUENT = 10.0, 0.10, 1.0
OURS, RIVALS, BOUND = "#0072B2", "#E69F00", "#999999"  # colours


def section(result: dict[str, Any]) -> str:
    """One study: a row for each method, what was found for it, and ten answers about the forgotten."""
    plan, counts = result["plan"], result["records"]
    sizes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    titles = [*COLUMNS, UTILITY, "all five", "gates", "retraining ÷ unlearning, time"]
    lines = [
        f"## {_name(result)}: {result['hardware']}, {result['threads']} CPU threads, {len(plan['seeds'])} seeds",
        "",
        f"{plan['trials']} trials of each method. Records: {sizes}.",
        "",
        f"| | {' | '.join(titles)} |",
        f"| --- |{' ---: |' * len(titles)}",
    ]
    for method in _methods(result):
        cells = _cells(result, method)
        values = [_spread([flatten(cell["metrics"]["after"]).get(path) for cell in cells]) for path in COLUMNS.values()]
        faster = [
            cell["retraining_seconds"] / cell["seconds"] if cell["seconds"] and cell["retraining_seconds"] else None
            for cell in cells
        ]
        reached = sum(has_all(result, cell) for cell in cells)
        values += [
            _spread([_utility(cell) for cell in cells]),
            f"{reached} of {len(cells)}",
            _failed(cells),
            _spread(faster),
        ]
        lines.append(f"| {method} | {' | '.join(values)} |")
    return "\n".join([*lines, "", _verdict(result), "", *_found(result), "", *_answers(result)]) + "\n"


def _verdict(result: dict[str, Any]) -> str:
    """Which methods have all five on every seed."""
    reached = [
        method
        for method in _methods(result)
        if method not in (FULL, RETAINED, SECOND) and all(has_all(result, cell) for cell in _cells(result, method))
    ]
    return f"Methods that have all five on every seed: {', '.join(reached) or 'none'}."


def has_all(result: dict[str, Any], cell: dict[str, Any]) -> bool:
    """Whether a cell has what the page calls all five."""
    after, retain_model = (flatten(cell["metrics"][role]) for role in ("after", "retain_model"))
    chance = [
        abs(flatten(yardstick["metrics"]["after"])["privleak"] or 0.0)
        for yardstick in _cells(result, SECOND)
        if yardstick["seed"] == cell["seed"]
    ]
    utility, leak = _utility(cell), after["privleak"]
    demands = (
        (after["forget_quality.p_value"] or 0.0) > 0.05,
        utility is not None and utility >= 0.95,
        leak is not None and abs(leak) < max(CLOSE, *chance, 0.0),
        after["robustness.relearned_probability"] <= retain_model["robustness.relearned_probability"] + SLACK,
        (after["fluency.nll"] or math.inf) <= (retain_model["fluency.nll"] or math.inf) + FLUENT,
    )
    return all(demands)


def _name(result: dict[str, Any]) -> str:
    data = "The example" if result["plan"]["data"] == "example" else "TOFU"
    return f"{data}, {result['plan']['split']}"


def _methods(result: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(cell["method"] for cell in result["cells"]))


def _cells(result: dict[str, Any], method: str) -> list[dict[str, Any]]:
    return [cell for cell in result["cells"] if cell["method"] == method]


def _utility(cell: dict[str, Any]) -> float | None:
    after, before = (flatten(cell["metrics"][role])["model_utility"] for role in ("after", "before"))
    return after / before if after is not None and before else None


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    if len(known) == 1:
        return number(known[0])
    return f"{number(statistics.fmean(known))} ± {number(statistics.stdev(known))}"


def _failed(cells: list[dict[str, Any]]) -> str:
    """How many seeds pass all, and which gates most often do not."""
    passed = sum(not cell["failed"] for cell in cells)
    failed = [name for cell in cells for name in cell["failed"]]
    worst = sorted(set(failed), key=lambda name: (-failed.count(name), name))
    told = f"{passed} of {len(cells)}"
    return told if not worst else f"{told}: {', '.join(worst[:3])}" + (" …" if len(worst) > 3 else "")


def _found(result: dict[str, Any]) -> list[str]:
    settings = {method: _cells(result, method)[0]["settings"] for method in _methods(result)}
    tuned = [
        f"{method} {', '.join(part.removeprefix('unlearn.') for part in chosen[3:])}"
        for method, chosen in settings.items()
        if chosen and method not in (FULL, RETAINED, SECOND)
    ]
    return [f"Found for each: {'; '.join(tuned)}."]


def _answers(result: dict[str, Any]) -> list[str]:
    """What is answered about the forgotten, on the first seed."""
    said = {method: _cells(result, method)[0]["answers"] for method in _methods(result) if method in SHOWN}
    asked, first = next(iter(said.values()))["prompts"], next(iter(said.values()))
    titles = ["asked", "before", "retain model", *(method for method in said if method not in (FULL, RETAINED))]
    rows = [
        [prompt, first["before"][place], first["retain_model"][place]]
        + [answers["after"][place] for method, answers in said.items() if method not in (FULL, RETAINED)]
        for place, prompt in enumerate(asked)
    ]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    return [*lines, *(f"| {' | '.join(_cell(text) for text in row)} |" for row in rows)]


SHOWN = (DEFAULT, "npo", "pdu")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:160] or "(nothing)"


def draw_fronts(results: list[dict[str, Any]], file: Path) -> None:
    """What was kept against how far it is from never having known, with the Pareto front and one deviation each way."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "study", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 4.2 * len(results)), layout="constrained")
        for panel, result in zip(figure.subplots(len(results), squeeze=False)[:, 0], results, strict=True):
            points = {method: _point(result, method) for method in _methods(result) if method != FULL}
            for method, (x, y, xerr, yerr) in points.items():
                color = OURS if method.startswith("unilogit") else BOUND if method in (RETAINED, SECOND) else RIVALS
                panel.errorbar(x, y, yerr, xerr, marker="o", color=color, linewidth=1)
                panel.annotate(method, (x, y), textcoords="offset points", xytext=(6, 4), fontsize=9)
            front = pareto_front([(x, y) for method, (x, y, *_) in points.items() if method not in (RETAINED, SECOND)])
            panel.step(*zip(*front, strict=True), where="post", color=BOUND, linestyle=":", linewidth=1)
            panel.set_title(_name(result), loc="left", fontsize=11)
            panel.set_xlabel("|PrivLeak|, %: nearer to 0 is better")
            panel.set_ylabel("retain probability")
            panel.spines[["top", "right"]].set_visible(False)
        figure.savefig(file, metadata={"Date": None})


def pareto_front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other has both a lower first and a higher second number than, from left to right."""
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def _point(result: dict[str, Any], method: str) -> tuple[float, float, float, float]:
    flat = [flatten(cell["metrics"]["after"]) for cell in _cells(result, method)]
    leaks, kept = [abs(cell["privleak"] or 0.0) for cell in flat], [cell["retain.probability"] for cell in flat]
    spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in (leaks, kept)]
    return statistics.fmean(leaks), statistics.fmean(kept), *spread


def write_results(results: list[dict[str, Any]], folder: Path) -> Path:
    """Write the page and its picture; where the page is."""
    draw_fronts(results, folder / "results.svg")
    picture = "![What each method keeps against how far it is from never having known](results.svg)\n"
    page = folder / "results.md"
    page.write_text("\n".join([INTRODUCTION, picture, *map(section, results)]))
    return page
