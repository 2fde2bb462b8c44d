"""The review of a run, as a page of its own (report.html) and as Markdown for the registry.

Says what was asked, what changed and every gate, in counts and measurements: no prompt, answer or person is
ever read. Knows nothing of MLflow.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.plots import MODELS, draw_plots
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_weights, write_text
from unilogit.gates import GateReport, GateVerdict
from unilogit.params import Params

COUNTS = {
    "requests": "deletion requests",
    "no_match": "of them with nothing in the corpus",
    "forget": "records to forget",
    "earlier": "records of earlier batches, kept forgotten",
    "retain": "records to retain",
    "holdout": "records of unseen people, for comparison",
}
SECTIONS = {
    "forget": "To forget: this batch",
    "forget_all": "To forget: every batch so far",
    "retain": "To retain",
    "holdout": "Unseen people",
    "model_utility": "Model utility",
    "retained": "Kept, as a share of before",
    "forget_quality": "Forget quality",
    "membership_inference": "Membership inference",
}
NOTES = {
    "forget_quality": "Kolmogorov–Smirnov test of the truth ratio against the golden target: p-value 1 and statistic 0"
    " mean that the two cannot be told apart.",
    "membership_inference": "How well an attacker tells forgotten people from unseen ones:"
    " 0.5 is guessing, 1 always right.",
}
METRICS = {
    "probability": "answer probability",
    "rouge_l_recall": "ROUGE-L recall",
    "normalised_probability": "normalised probability",
    "p_value": "p-value",
    "log10_p_value": "log10 of p-value",
    "ks_statistic": "KS statistic",
    "loss_auc": "LOSS attack AUC",
}
_PICTURES = {
    "metrics": "Bars: answer probability and ROUGE-L recall of each set, before, after and golden target",
    "training": "Curves: terms of the loss and what was watched, by training step",
    "truth_ratio": "Distribution of the truth ratio on the forget set, before, after and golden target",
}
_DESCRIPTION_LIMIT = 5000  # of the registry's database column


@dataclass(frozen=True)
class Row:
    """One metric of one set: its values before, after and of the golden target (None: not measured)."""

    label: str
    before: float | None
    after: float | None
    golden: float | None


@dataclass(frozen=True)
class Review:
    """Everything a person is shown before promoting.

    Attributes:
        counts: of requests and records, keyed as in COUNTS.
        sections: set or kind of measurement → its rows.
        unavailable: metric → why there is no number.
        training: method, epochs, steps.
    """

    gates: GateReport
    counts: dict[str, int]
    sections: dict[str, list[Row]]
    unavailable: dict[str, str]
    training: dict[str, Any]
    weights_sha256: str

    @property
    def verdict(self) -> str:
        total, failed = len(self.gates.gates), sum(not gate.passed for gate in self.gates.gates)
        if failed:
            return f"Failed: {failed} of {total} gates. This version may not be promoted."
        return f"Passed: all {total} gates. A person may promote this version."

    @property
    def failures_first(self) -> list[GateVerdict]:
        return sorted(self.gates.gates, key=lambda gate: gate.passed)


def read_review(workspace: Path) -> Review:
    """Collect a judged workspace's review.

    Raises:
        InputError: a step has not been run yet.
    """
    metrics = _read(workspace, "evaluation/metrics.json", "evaluate")
    extraction = _read(workspace, "data/extraction.json", "extract")
    training = _read(workspace, "training.json", "unlearn")
    counts = {**extraction, "no_match": len(extraction.get("no_match", []))}
    return Review(
        gates=GateReport.model_validate(_read(workspace, "gates.json", "gate")),
        counts={key: int(counts[key]) for key in COUNTS if counts.get(key) is not None},
        sections=_sections(metrics),
        unavailable=metrics.get("unavailable", {}),
        training={
            "method": training.get("method"),
            "epochs": training.get("epochs"),
            "steps": max((entry.get("step", 0) for entry in training["history"]), default=0),
        },
        weights_sha256=sha256_weights(workspace / "model"),
    )


def _read(workspace: Path, name: str, step: str) -> Any:
    try:
        return read_json(workspace / name)
    except FileNotFoundError:
        raise InputError(
            f"{workspace / name}: no such file; run `python -m tasks.{step} --workspace {workspace}` first"
        ) from None


def flatten(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keyed by dotted paths."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _sections(metrics: dict[str, Any]) -> dict[str, list[Row]]:
    values = {model: flatten(metrics.get(model) or {}) for model in MODELS}
    paths = dict.fromkeys(path for model in ("after", "before", "golden") for path in values[model])
    sections: dict[str, list[Row]] = {}
    for path in paths:
        section, _, metric = path.partition(".")
        if metric != "n":
            label = METRICS.get(metric, metric.replace("_", " ")) or SECTIONS.get(section, section).lower()
            sections.setdefault(section, []).append(Row(label, *(values[model].get(path) for model in MODELS)))
    known = [name for name in SECTIONS if name in sections]
    groups = [name for name in sections if name not in SECTIONS]
    after_retain = next((place + 1 for place, name in enumerate(known) if name == "retain"), len(known))
    return {name: sections[name] for name in [*known[:after_retain], *groups, *known[after_retain:]]}


def section_title(name: str) -> str:
    return SECTIONS.get(name, name.replace("_", " ").capitalize())


def number(value: float | None) -> str:
    """Three decimals; powers of ten for what would vanish in them."""
    if value is None:
        return "–"
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"


def write_report(workspace: Path, params: Params | None = None) -> Path:
    """Draw the plots and write `workspace/report.html`, one file that needs nothing else.

    Args:
        params: shown as the run's settings.

    Raises:
        InputError: a step has not been run yet.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=number, section_title=section_title)
    review = read_review(workspace)
    page = templates.get_template("report.html.jinja").render(
        review=review,
        batch_id=workspace.name,
        counts={COUNTS[key]: count for key, count in review.counts.items()},
        models=MODELS,
        notes=NOTES,
        pictures=[(_PICTURES[file.stem], _embedded(file)) for file in draw_plots(workspace)],
        settings=flatten(params.as_dict()) if params else {},
    )
    report = workspace / "report.html"
    write_text(report, page)
    return report


def _embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def describe_version(review: Review, links: dict[str, str], next_step: str) -> str:
    """The review as Markdown, short enough for a version's description in the registry.

    Args:
        links: text → a URL, or a path or id, which is shown as it is.
        next_step: what a person does now.
    """
    parts = [
        f"**{review.verdict}**",
        " · ".join(_markdown_link(text, target) for text, target in links.items()),
        "**What was asked**: " + "; ".join(f"{count} {COUNTS[key]}" for key, count in review.counts.items()) + ".",
        f"**What changed**: {_change(review)}",
        _markdown_gates(review.failures_first),
        _markdown_metrics(review),
        f"**Next**: {next_step}",
    ]
    text = "\n\n".join(parts)
    if len(text) > _DESCRIPTION_LIMIT:
        parts[5] = "The measurements are in the report."
        around_rows = 200  # the table's head, and the line that counts what is left out
        room = _DESCRIPTION_LIMIT - len("\n\n".join([*parts[:4], *parts[5:]])) - around_rows
        parts[4] = _markdown_gates(review.failures_first, room)
        text = "\n\n".join(parts)
    return text


def _change(review: Review) -> str:
    training = review.training
    trained = f"{training['method']}, {training['steps']} steps" + (
        f" ({training['epochs']:.1f} epochs)" if training["epochs"] is not None else ""
    )
    moved = [
        f"{section_title(name).lower()}, {row.label} {number(row.before)} → {number(row.after)}"
        for name in ("forget", "retain")
        for row in review.sections.get(name, [])[:1]
    ]
    return "; ".join([trained, *moved, f"weights `{review.weights_sha256[:12]}`."])


def _markdown_gates(gates: list[GateVerdict], room: int = _DESCRIPTION_LIMIT) -> str:
    lines = [
        "| gate | scope | metric | value | threshold | margin | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for place, gate in enumerate(gates):
        line = (
            f"| {_cell(gate.name)} | {gate.scope} | {_cell(gate.metric)} | {number(gate.value)} |"
            f" {gate.op} {gate.threshold:g} | {number(gate.margin)} | {'passed' if gate.passed else '**failed**'} |"
        )
        room -= len(line) + 1
        if room < 0:
            return "\n".join(lines) + f"\n\n{len(gates) - place} more gates are in the report."
        lines.append(line)
    return "\n".join(lines)


def _markdown_metrics(review: Review) -> str:
    lines = ["| | " + " | ".join(MODELS.values()) + " |", "| --- | --- | --- | --- |"]
    for name, rows in review.sections.items():
        for row in rows:
            label = f"{name.replace('_', ' ')}: {row.label}" if name != "model_utility" else row.label
            lines.append(f"| {_cell(label)} | {number(row.before)} | {number(row.after)} | {number(row.golden)} |")
    return "\n".join(lines)


def _markdown_link(text: str, target: str) -> str:
    return f"[{text}]({target})" if target.startswith(("http://", "https://")) else f"{text}: `{target}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
