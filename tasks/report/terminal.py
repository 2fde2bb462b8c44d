"""A finished run on the terminal: what was measured, gates, version, what to type next; and gates in words."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from tasks.report.names import MODELS, number
from tasks.report.review import Review, read_review
from tasks.workspace import Place, Registration, Workspace
from unilogit.errors import InputError
from unilogit.files import read_json
from unilogit.gates import Gate, GateVerdict

SHOWN = {  # metrics of metrics.json that say most; the report has all
    *("probability", "rouge_l_recall", "model_utility", "p_value", "ks_statistic", "loss_auc", "min_k_auc", "privleak"),
    *("quantised_4_bit_probability", "relearned_probability", "accuracy", "drift", "general_perplexity"),
}


def show_run(workspace: Workspace, console: Console | None = None) -> None:
    """Print what a run measured, judged and registered.

    Raises:
        InputError: a step has not been run yet.
    """
    review, registration = read_review(workspace), workspace.read(Registration)
    closing = _closing(review, registration, workspace.path(Place.REPORT))
    (console or Console()).print(Group(_measurements(review), _gates(review.gates.gates), closing))


def print_gates(gates: Sequence[Gate], workspace: Workspace | None, console: Console | None = None) -> None:
    """Print what each gate demands and why; with a workspace, how what was measured there compares.

    Raises:
        InputError: nothing was measured in the workspace.
    """
    from unilogit.evaluation.registry import METRICS
    from unilogit.gates import judge

    file = None if workspace is None else workspace.path(Place.METRICS)
    if file is not None and not file.is_file():
        raise InputError(f"{file}: no such file; name a run's folder, as `ls var/runs` shows them")
    verdicts = judge(gates, read_json(file)).gates if file else [None] * len(gates)
    table = Table(title="Gates: a metric that is missing or not a number fails", title_justify="left")
    for column in ("gate", "scope", "demands", "measured on", *(("margin", "verdict") if file else ())):
        table.add_column(column)
    for gate, verdict in zip(gates, verdicts, strict=True):
        known = METRICS.get(gate.metric) or METRICS.get(gate.metric.split(".")[-1])
        row = [escape(gate.name), gate.scope, escape(_demand(gate)), known.scope if known else "–"]
        if verdict is not None:
            row += [number(verdict.margin), f"{_verdict(verdict)}: {escape(verdict.reason)}"]
        table.add_row(*row)
    (console or Console()).print(table)


def _demand(gate: Gate) -> str:
    return f"{gate.metric} {gate.op} {gate.threshold:g}"


def _verdict(gate: GateVerdict) -> str:
    return "[green]passed[/]" if gate.passed else "[bold red]failed[/]"


def _measurements(review: Review) -> Table:
    table = Table("measurement", title="What the models know", title_justify="left")
    for title in MODELS.values():
        table.add_column(title, justify="right")
    for rows in review.sections.values():
        for row in rows:
            if row.metric in SHOWN and any(value is not None for value in row.values.values()):
                table.add_row(escape(row.whole_label), *(number(row.values[role]) for role in MODELS))
    return table


def _gates(gates: Sequence[GateVerdict]) -> Table:
    table = Table("gate", "scope", title="Gates", title_justify="left")
    for column in ("value", "threshold"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for gate in gates:
        limit = f"{gate.op} {gate.threshold:g}"
        table.add_row(escape(gate.name), gate.scope, number(gate.value), limit, _verdict(gate))
    return table


def _closing(review: Review, registration: Registration, report: Path) -> str:
    name, version = registration.registered_model, registration.version
    lines = [f"Registered {name} version {version}" + (" as [bold]candidate[/]" if registration.alias else "")]
    lines.append(f"Report: {escape(str(report))}")
    if review.gates.passed and registration.alias:
        lines.append(f"Next, when you have reviewed it: [bold]{_program()} models promote {name} {version}[/]")
    elif not review.gates.passed:
        lines.append("[bold red]Gates failed: nothing became candidate.[/] Every reason:")
        lines += [escape(f"  {gate.name}: {gate.reason}") for gate in review.gates.gates if not gate.passed]
        lines.append(
            f"Next: change the `unlearn` section of params.yaml, then [bold]{_program()} run --retry-failed[/]"
        )
    return "\n".join(lines)


def _program() -> str:
    """What to type for `unilogit` in this terminal, where the virtual environment may not be active."""
    return "unilogit" if shutil.which("unilogit") else os.path.relpath(Path(sys.executable).parent / "unilogit")
