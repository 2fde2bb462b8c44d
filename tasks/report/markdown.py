"""The review of a run as Markdown, for a version's description in the registry. Knows nothing of MLflow."""

from collections.abc import Mapping

from tasks.report.names import COUNTS, MODELS, number, section_title
from tasks.report.review import Review, Row
from tasks.sets import PARENT, UNLEARNED
from unilogit.gates import GateVerdict

_LIMIT = 5000  # of the registry's database column
_AROUND_ROWS = 200  # a table's head, and the line that counts the rows left out
_GATE_TITLES = ("verdict", "gate", "scope", "value", "threshold")
_GAP = "\u2003\u2060"  # a space and a word joiner: MLflow's cells have no margin, and spaces at their end are cut off


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
        f"**What changed**:\n\n{_changes(review, facts)}",
    ]
    if review.incomplete:
        head.append(
            f"Measured in part: {len(review.incomplete)} numbers; the report says what they leave out, and why."
        )
    end = f"**Next**: {next_step}"
    room = _LIMIT - len("\n\n".join([*head, "", "", end])) - 2 * _AROUND_ROWS
    gates = _table(_GATE_TITLES, [_gate(gate) for gate in review.failures_first], "gates", room)
    rows = [_measured(row) for rows in review.sections.values() for row in rows]
    measured = _table(("measured", *MODELS.values()), rows, "measurements", room - len(gates))
    return "\n\n".join([*head, gates, measured, end])


def _changes(review: Review, facts: Mapping[str, str]) -> str:
    moved = [
        f"{section_title(section).lower()}, {row.label}: {number(row.values[PARENT])} → {number(row.values[UNLEARNED])}"
        for section in ("forget", "retain")
        for row in review.sections.get(section, [])[:1]
    ]
    changes = [f"{name}: {value}" for name, value in {**review.changes, **facts}.items()]
    return "\n".join(f"- {' '.join(change.split())}" for change in (*moved, *changes))


def _gate(gate: GateVerdict) -> str:
    verdict = "passed" if gate.passed else "**failed**"
    return _row(verdict, gate.name, gate.scope, number(gate.value), f"{gate.op} {gate.threshold:g}")


def _measured(row: Row) -> str:
    return _row(row.whole_label, *(number(row.values[role]) for role in MODELS))


def _table(titles: tuple[str, ...], rows: list[str], content: str, room: int) -> str:
    """As many rows as there is room for, and how many more the report has."""
    lines = [_row(*titles), "| --- " * len(titles) + "|"]
    for place, row in enumerate(rows):
        room -= len(row) + 1
        if room < 0:
            return "\n".join(lines) + f"\n\n{len(rows) - place} more {content} are in the report."
        lines.append(row)
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return "".join(f"| {_cell(cell)}{_GAP} " for cell in cells) + "|"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
