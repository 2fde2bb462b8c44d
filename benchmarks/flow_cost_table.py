"""The flow's own cost as a section of docs/performance.md. Measures nothing."""

from typing import Any

INTRODUCTION = """\
## The flow's own cost

`unilogit run` on the example, and the same through the deployment at the servers of `unilogit up`, from the command's
start to its end. *Model work* is training the retain model, unlearning, measuring and attacking; the flow's own cost is
the rest. A sampler asks the flow's process a hundred times a second what it is busy with: what is innermost counts, so
that an import is one whoever asked for it. Seconds are on the clock, and in brackets on the processor, of the thread
that runs the flow.
"""


def flow_cost_section(result: dict[str, Any]) -> str:
    """One result of benchmarks.flow_cost as a table: a row for each part, a column for each way."""
    ways = result["ways"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    shared = "; other work ran on this machine meanwhile" if result["shared"] else ""
    rows = {"**model work**": "model_seconds", "**the flow's own cost**": "own_seconds"}
    rows["of that on the processor"] = "own_processor_seconds"
    lines = [
        f"### {result['hardware']}, {result['cores']} cores",
        "",
        f"{versions}{shared}.",
        "",
        f"| | {' | '.join(ways)} |",
        f"| --- |{' ---: |' * len(ways)}",
    ]
    for title, key in rows.items():
        lines.append(f"| {title} | {' | '.join(f'**{way[key]:.1f}**' for way in ways.values())} |")
    for part in dict.fromkeys(part for way in ways.values() for part in way["parts"]):
        lines.append(f"| {part} | {' | '.join(_seconds(way, part) for way in ways.values())} |")
    return "\n".join(lines) + "\n"


def _seconds(way: dict[str, Any], part: str) -> str:
    if part not in way["parts"]:
        return "–"
    processor = way["processor_parts"].get(part)
    return f"{way['parts'][part]:.1f}" + (f" ({processor:.1f})" if processor is not None else "")
