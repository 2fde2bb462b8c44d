"""The review of a run as a page: what was asked, what changed, every gate, in counts and measurements.

The page is written twice, for only one of them may hold what the models say of the forgotten. Knows nothing of
MLflow.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.plots import MODELS, draw_plots
from tasks.report_names import COUNTS, METRICS, NOTES, PICTURES, SECTION_OF, SECTIONS, number, section_title
from tasks.report_subjects import read_forgotten, sample_generations, subject_table, write_pseudonyms
from unilogit.errors import InputError
from unilogit.evaluation.stopwatch import tell_seconds
from unilogit.files import read_json, sha256_weights, write_text
from unilogit.gates import GateReport, GateVerdict
from unilogit.params import Params

_MOST_SUBJECTS = 1000  # on the page: more would make it slow to open


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
        took: model → where the time of measuring it went.
    """

    gates: GateReport
    counts: dict[str, int]
    sections: dict[str, list[Row]]
    unavailable: dict[str, str]
    training: dict[str, Any]
    took: dict[str, str]
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
        took=_took(workspace),
        weights_sha256=sha256_weights(workspace / "model"),
    )


def _took(workspace: Path) -> dict[str, str]:
    files = {model: workspace / "evaluation" / "models" / f"{model}.json" for model in MODELS}
    facts = {model: read_json(file) for model, file in files.items() if file.exists()}
    return {model: tell_seconds(fact["seconds"], fact["generated_tokens"]) for model, fact in facts.items()}


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
        if path in SECTION_OF:
            section, metric = SECTION_OF[path], path
        if metric != "n":
            label = METRICS.get(metric, metric.replace("_", " ")) or SECTIONS.get(section, section).lower()
            sections.setdefault(section, []).append(Row(label, *(values[model].get(path) for model in MODELS)))
    known = [name for name in SECTIONS if name in sections]
    groups = [name for name in sections if name not in SECTIONS]
    after_retain = next((place + 1 for place, name in enumerate(known) if name == "retain"), len(known))
    return {name: sections[name] for name in [*known[:after_retain], *groups, *known[after_retain:]]}


def write_report(workspace: Path, params: Params | None = None) -> Path:
    """Draw the plots and write the page twice, each one file that needs nothing else, and subjects.json.

    `workspace/report.html` shows what the models say of the forgotten and stays where it is;
    `workspace/logged/report.html` is for MLflow and does not, unless `register.log_generations` is true.

    Args:
        params: shown as the run's settings.

    Returns:
        workspace/report.html.

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
    forgotten = read_forgotten(workspace)
    subjects = subject_table(forgotten, write_pseudonyms(workspace, forgotten))
    page = templates.get_template("report.html.jinja")
    shown = {
        "review": review,
        "batch_id": workspace.resolve().name,
        "counts": {COUNTS[key]: count for key, count in review.counts.items()},
        "models": MODELS,
        "notes": NOTES,
        "subjects": subjects[:_MOST_SUBJECTS],
        "subjects_left_out": max(0, len(subjects) - _MOST_SUBJECTS),
        "pictures": [(*PICTURES[file.stem], _embedded(file)) for file in draw_plots(workspace)],
        "settings": {key: value for key, value in flatten(params.as_dict()).items() if key != "gates"}
        if params
        else {},
    }
    generations = sample_generations(forgotten)
    logged = generations if params and params.register_.log_generations else None
    report = workspace / "report.html"
    write_text(logged_report(workspace), page.render(**shown, generations=logged))
    write_text(report, page.render(**shown, generations=generations))
    return report


def logged_report(workspace: Path) -> Path:
    """The page that may leave the workspace."""
    return workspace / "logged" / "report.html"


def _embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
