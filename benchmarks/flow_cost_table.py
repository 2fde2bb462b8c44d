"""The flow's own cost as a section of docs/performance.md. Measures nothing."""

from typing import Any

INTRODUCTION = """\
## The flow's own cost

`unilogit run` on the example, and the same through the deployment at the servers of `unilogit up`, from the command's
start to its end. *Model work* is training the retain model, unlearning, measuring and attacking; the flow's own cost is
the rest. A sampler asks the flow's process a hundred times a second what it is busy with: what is innermost counts, so
that an import is one whoever asked for it.
"""


def flow_cost_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.flow_cost as a table: a row for each part, a column for each way."""
    ways = result["ways"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    shared = "; other work ran on this machine meanwhile" if result["shared"] else ""
    rows = {"**model work**": "model_seconds", "**the flow's own cost**": "own_seconds"}
    lines = [
        f"### {result['hardware']}, {result['cores']} cores",
        "",
        f"Seconds on the clock; {versions}{shared}.",
        "",
        f"| | {' | '.join(ways)} |",
        f"| --- |{' ---: |' * len(ways)}",
    ]
    for title, key in rows.items():
        lines.append(f"| {title} | {' | '.join(f'**{way[key]:.1f}**' for way in ways.values())} |")
    for part in dict.fromkeys(part for way in ways.values() for part in way["parts"]):
        seconds = (way["parts"].get(part) for way in ways.values())
        lines.append(f"| {part} | {' | '.join('–' if value is None else f'{value:.1f}' for value in seconds)} |")
    return "\n".join(lines) + "\n"
