"""A finished run on the terminal: before, after and retain model side by side, gates, version, what to type next."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table

from unilogit.errors import InputError
from unilogit.files import read_json
from unilogit.params import Gate

MODELS = (("before", "before"), ("after", "after"), ("golden", "retain model"))
SHOWN = (("probability", "probability"), ("rouge_l_recall", "ROUGE-L recall"))


def show_run(workspace: Path, console: Console | None = None) -> None:
    """Print what the run in `workspace` measured, judged and registered."""
    metrics = read_json(workspace / "evaluation" / "metrics.json")
    gates = read_json(workspace / "gates.json")
    registration = read_json(workspace / "registration.json")
    (console or Console()).print(
        Group(
            _sets_table(metrics),
            _whole_table(metrics),
            _gates_table(gates),
            _closing(workspace, gates, registration),
        )
    )


def print_gates(gates: Sequence[Gate], workspace: Path | None, console: Console | None = None) -> None:
    """Print what each gate demands and why; with a workspace, how what was measured there compares.

    Raises:
        InputError: nothing was measured in the workspace.
    """
    from unilogit.evaluation.registry import METRICS
    from unilogit.gates import judge

    file = None if workspace is None else workspace / "evaluation" / "metrics.json"
    if file is not None and not file.is_file():
        raise InputError(f"{file}: no such file; name a run's folder, as `ls var/runs` shows them")
    verdicts = judge(gates, read_json(file)).gates if file else [None] * len(gates)
    table = Table(title="Gates: a metric that is missing or not a number fails", title_justify="left")
    for column in ("gate", "scope", "demands", "measured on", *(("margin", "verdict") if file else ())):
        table.add_column(column)
    for gate, verdict in zip(gates, verdicts, strict=True):
        known = METRICS.get(gate.metric) or METRICS.get(gate.metric.split(".")[-1])
        row = [gate.name, gate.scope, f"{gate.metric} {gate.op} {gate.threshold:g}", known.scope if known else "–"]
        if verdict is not None:
            passed = "[green]passed[/]" if verdict.passed else "[bold red]failed[/]"
            row += [number(verdict.margin), f"{passed}: {verdict.reason}"]
        table.add_row(*row)
    (console or Console()).print(table)


def _sets_table(metrics: dict[str, Any]) -> Table:
    table = Table(title="What the models know", title_justify="left")
    table.add_column("set")
    table.add_column("metric")
    for _, title in MODELS:
        table.add_column(title, justify="right")
    sets = [name for name, values in metrics["after"].items() if isinstance(values, dict) and "probability" in values]
    for name in sets:
        for metric, title in SHOWN:
            values = [((metrics[model] or {}).get(name) or {}).get(metric) for model, _ in MODELS]
            if any(value is not None for value in values):
                table.add_row(name.replace("_", " "), title, *map(number, values))
    return table


def _whole_table(metrics: dict[str, Any]) -> Table:
    table = Table(title="As a whole", title_justify="left")
    table.add_column("metric")
    for _, title in MODELS:
        table.add_column(title, justify="right")
    for title, *path in (
        ("model utility", "model_utility"),
        ("forget quality (p-value)", "forget_quality", "p_value"),
        ("forget quality (KS statistic)", "forget_quality", "ks_statistic"),
        ("membership inference (LOSS AUC)", "membership_inference", "loss_auc"),
        ("membership inference (Min-K% AUC)", "membership_inference", "min_k_auc"),
        ("PrivLeak (%)", "privleak"),
        ("forget probability, 4-bit weights", "robustness", "quantised_4_bit_probability"),
        ("forget probability, relearned", "robustness", "relearned_probability"),
    ):
        table.add_row(title, *(number(_lookup(metrics[model], path)) for model, _ in MODELS))
    return table


def _gates_table(gates: dict[str, Any]) -> Table:
    table = Table(title="Gates", title_justify="left")
    for column in ("gate", "scope"):
        table.add_column(column)
    for column in ("value", "threshold"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for gate in gates["gates"]:
        verdict = "[green]passed[/]" if gate["passed"] else "[bold red]failed[/]"
        limit = f"{gate['op']} {gate['threshold']:g}"
        table.add_row(gate["name"], gate["scope"], number(gate["value"]), limit, verdict)
    return table


def _closing(workspace: Path, gates: dict[str, Any], registration: dict[str, Any]) -> str:
    name, version = registration["registered_model"], registration["version"]
    lines = [f"Registered {name} version {version}" + (" as [bold]candidate[/]" if registration["alias"] else "")]
    lines.append(f"Report: {workspace / 'report.html'}")
    if gates["passed"]:
        lines.append(f"Next, when you have reviewed it: [bold]{_program()} models promote {name} {version}[/]")
    else:
        lines.append("[bold red]Gates failed: nothing became candidate.[/] Every reason:")
        lines += [f"  {gate['name']}: {gate['reason']}" for gate in gates["gates"] if not gate["passed"]]
        lines.append(
            f"Next: change the `unlearn` section of params.yaml, then [bold]{_program()} run --retry-failed[/]"
        )
    return "\n".join(lines)


def _program() -> str:
    """What to type for `unilogit` in this terminal, where the virtual environment may not be active."""
    return "unilogit" if shutil.which("unilogit") else os.path.relpath(Path(sys.executable).parent / "unilogit")


def _lookup(node: Any, path: list[str]) -> Any:
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return node


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
