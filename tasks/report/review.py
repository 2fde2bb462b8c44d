"""The review of a run: all that page, plots, Markdown and terminal say, in counts and measurements.

Holds no prompt, answer or person. Knows nothing of how it is shown, or of MLflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from tasks.report.names import COUNTS, MODELS, SECTION_OF, SECTIONS, metric_title, short_title
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.workspace import Extraction, Measured, Metrics, ParentModel, Place, RetainModel, Training, Workspace
from unilogit.files import read_json
from unilogit.gates import GateReport, GateVerdict


@dataclass(frozen=True)
class Row:
    """One metric of a section.

    Attributes:
        section, metric: as metrics.json names them.
        label: the metric in words.
        values: role of a model → number; None where there is none.
    """

    section: str
    metric: str
    label: str
    values: Mapping[str, float | None]

    @property
    def whole_label(self) -> str:
        """The label, with the section unless that says the same."""
        section = short_title(self.section)
        return self.label if self.label == section else f"{section}: {self.label}"


@dataclass(frozen=True)
class Review:
    """Everything a person is shown before promoting.

    Attributes:
        batch_id: name of the workspace's folder.
        gates: every gate and its verdict.
        counts: of requests and records, keyed as in COUNTS.
        sections: set or kind of measurement → its rows, in reading order.
        unavailable: metric → why there is no number.
        incomplete: metric that leaves something out → what, and why.
        parent: the model that was unlearned.
        retain_model: what perfect unlearning would give, in words.
        training: how.
        took: role of a model → where the time of measuring it went, or that it was measured earlier.
    """

    batch_id: str
    gates: GateReport
    counts: Mapping[str, int]
    sections: Mapping[str, list[Row]]
    unavailable: Mapping[str, str]
    incomplete: Mapping[str, str]
    parent: ParentModel
    retain_model: str
    training: Training
    took: Mapping[str, str]

    @property
    def verdict(self) -> str:
        total, failed = len(self.gates.gates), sum(not gate.passed for gate in self.gates.gates)
        if failed:
            return f"Failed: {failed} of {total} gates. This version may not be promoted."
        return f"Passed: all {total} gates. A person may promote this version."

    @property
    def failures_first(self) -> list[GateVerdict]:
        return sorted(self.gates.gates, key=lambda gate: gate.passed)

    @property
    def changes(self) -> dict[str, str]:
        """What was done to the model, and what it is compared with: name → value, in words."""
        start = self.parent.start_version
        return {
            "parent model": f"version {self.parent.version}" if self.parent.version else self.parent.model,
            **({"unlearning went on from": f"version {start}"} if start else {}),
            "retain model": self.retain_model,
            "method": self.training.method,
            "optimiser steps": str(self.training.steps),
            "weights as after step": str(self.training.kept_step or self.training.steps),
            "passes over the forget set": f"{self.training.epochs:.1f}",
            "stop rule": self.training.stop_rule,
            "processes that shared the work": str(self.training.processes),
            "SHA-256 of the new weights": self.training.weights_sha256,
        }

    def row(self, section: str, metric: str) -> Row | None:
        """One metric; None where no model was measured by it."""
        return next((row for row in self.sections.get(section, ()) if row.metric == metric), None)


def read_review(workspace: Workspace) -> Review:
    """Collect the review of a workspace that gates were applied to.

    Raises:
        InputError: a step has not been run yet.
    """
    metrics, extraction = workspace.read(Metrics), workspace.read(Extraction)
    retain_model = workspace.read(RetainModel)
    counts = {**extraction.model_dump(), "not_found": len(extraction.not_found), "held": len(extraction.held)}
    return Review(
        batch_id=workspace.root.resolve().name,
        gates=GateReport.model_validate(read_json(workspace.path(Place.GATES))),
        counts={key: int(counts[key]) for key in COUNTS},
        sections=_sections(metrics),
        unavailable=metrics.unavailable,
        incomplete=metrics.incomplete,
        parent=workspace.read(ParentModel),
        retain_model=retain_model.description.removeprefix(f"{retain_model.model}: "),
        training=workspace.read(Training),
        took=_took(workspace),
    )


def _took(workspace: Workspace) -> dict[str, str]:
    files = {role: workspace.measured(role)[0] for role in MODELS}
    return {role: str(Measured.model_validate(read_json(file))) for role, file in files.items() if file.exists()}


def _sections(metrics: Metrics) -> dict[str, list[Row]]:
    measured = {UNLEARNED: metrics.after, PARENT: metrics.before, RETAIN_MODEL: metrics.retain_model or {}}
    values = {role: _by_section(measurements) for role, measurements in measured.items()}
    sections: dict[str, list[Row]] = {}
    for section, metric in dict.fromkeys(key for role in measured for key in values[role]):
        row = Row(section, metric, metric_title(metric), {role: values[role].get((section, metric)) for role in MODELS})
        sections.setdefault(section, []).append(row)
    kept = list(SECTIONS).index("neighbours") + 1  # groups of general knowledge follow what is to be retained
    groups = [name for name in sections if name not in SECTIONS]
    order = [*list(SECTIONS)[:kept], *groups, *list(SECTIONS)[kept:]]
    return {name: sections[name] for name in order if name in sections}


def _by_section(measurements: Mapping[str, JsonValue]) -> dict[tuple[str, str], float | None]:
    """(section, metric) → number; how many records a set has is none."""
    by_section: dict[tuple[str, str], float | None] = {}
    for name, content in measurements.items():
        if isinstance(content, dict):
            by_section |= {(name, metric): value for metric, value in numbers(content).items() if metric != "n"}
        else:
            by_section |= {(SECTION_OF.get(name, name), name): value for value in numbers({name: content}).values()}
    return by_section


def numbers(measurements: Mapping[str, JsonValue]) -> dict[str, float | None]:
    """Dotted path → number, of nested measurements; None where there is none."""
    values = flatten(measurements)
    return {path: value if isinstance(value, int | float) else None for path, value in values.items()}


def flatten(node: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Nested mappings as one, keyed by dotted paths."""
    flat: dict[str, JsonValue] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
