"""The review of a run as Markdown, for a version's description in the registry. Knows nothing of MLflow."""

from collections.abc import Mapping

from tasks.report.names import COUNTS, MODELS, number, section_title
from tasks.report.review import Review
from tasks.sets import PARENT, UNLEARNED
from unilogit.gates import GateVerdict

_LIMIT = 5000  # of the registry's database column
_AROUND_ROWS = 200  # a table's head, and the line that counts the rows left out


def describe_version(review: Review, links: Mapping[str, str], facts: Mapping[str, str], next_step: str) -> str:
    """The review as Markdown, short enough for a version's description in the registry.

    Args:
        links: text → where it leads.
        facts: what else there is to know of what changed, name → value.
        next_step: what a person does now.
    """
    head = [
        f"**{review.verdict}**",
        " · ".join(f"[{text}]({target})" for text, target in links.items()),
        "**What was asked**: " + "; ".join(f"{count} {COUNTS[key]}" for key, count in review.counts.items()) + ".",
        f"**What changed**: {_change(review, facts)}",
    ]
    end = f"**Next**: {next_step}"
    whole = "\n\n".join([*head, _gates(review.failures_first), _metrics(review), end])
    if len(whole) <= _LIMIT:
        return whole
    rest = ["The measurements are in the report.", end]
    room = _LIMIT - len("\n\n".join([*head, *rest])) - _AROUND_ROWS
    return "\n\n".join([*head, _gates(review.failures_first, room), *rest])


def _change(review: Review, facts: Mapping[str, str]) -> str:
    changes = [f"{name}: {value}" for name, value in {**review.changes, **facts}.items()]
    moved = [
        f"{section_title(section).lower()}, {row.label}: {number(row.values[PARENT])} → {number(row.values[UNLEARNED])}"
        for section in ("forget", "retain")
        for row in review.sections.get(section, [])[:1]
    ]
    return "; ".join([*changes, *moved]) + "."


def _gates(gates: list[GateVerdict], room: int = _LIMIT) -> str:
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


def _metrics(review: Review) -> str:
    lines = ["| | " + " | ".join(MODELS.values()) + " |", "| --- |" + " --- |" * len(MODELS)]
    for rows in review.sections.values():
        for row in rows:
            values = " | ".join(number(row.values[role]) for role in MODELS)
            lines.append(f"| {_cell(row.whole_label)} | {values} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
