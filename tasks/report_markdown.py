"""The review of a run as Markdown, for a version's description in the registry. Knows nothing of MLflow."""

from tasks.plots import MODELS
from tasks.report import Review
from tasks.report_names import COUNTS, number, section_title
from unilogit.gates import GateVerdict

_LIMIT = 5000  # of the registry's database column


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
    if len(text) > _LIMIT:
        parts[5] = "The measurements are in the report."
        around_rows = 200  # the table's head, and the line that counts what is left out
        room = _LIMIT - len("\n\n".join([*parts[:4], *parts[5:]])) - around_rows
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


def _markdown_gates(gates: list[GateVerdict], room: int = _LIMIT) -> str:
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
