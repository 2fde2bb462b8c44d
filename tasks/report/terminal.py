"""A finished run on the terminal: what was measured, gates, version, what to type next; and gates in words."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from tasks.params import DEFAULT_PARAMS
from tasks.report.advice import advice, is_still_known
from tasks.report.names import MODELS, number
from tasks.report.review import Review, read_review
from tasks.workspace import Place, Registration, Workspace
from unilogit.adapters import find_adapter
from unilogit.errors import InputError
from unilogit.files import read_json
from unilogit.gates import Gate, GateReport, GateVerdict

SHOWN = {  # metrics of metrics.json that say most; the report has all
    *("probability", "rouge_l_recall", "known", "model_utility", "p_value", "ks_statistic", "loss_auc", "min_k_auc"),
    *(
        "privleak",
        "repetition",
        "relative_length",
        "quantised_4_bit_probability",
        "relearned_probability",
        "accuracy",
        "drift",
        "general_perplexity",
    ),
}


def show_run(workspace: Workspace, options: Sequence[str] = (), console: Console | None = None) -> None:
    """Print what a run measured, judged and registered.

    Args:
        options: of the command that was typed, which the ones to type next are given too.

    Raises:
        InputError: a step has not been run yet.
    """
    review, registration = read_review(workspace), workspace.read(Registration)
    closing = _closing(review, registration, workspace, "".join(f" {shlex.quote(word)}" for word in options))
    (console or Console()).print(Group(_measurements(review), _gates(review.gates.gates), closing))


def print_gates(gates: Sequence[Gate] | None, workspace: Workspace | None, console: Console | None = None) -> None:
    """Print what each gate demands and why; with a workspace, how what was measured there compares.

    Args:
        gates: None for those that the workspace was judged by.

    Raises:
        InputError: nothing was measured in the workspace.
    """
    from unilogit.evaluation.registry import METRICS
    from unilogit.gates import judge

    file = None if workspace is None else workspace.path(Place.METRICS)
    if file is not None and not file.is_file():
        raise InputError(f"{file}: no such file; name a run's folder, as `ls var/runs` shows them")
    if gates is None:
        gates = own_gates(workspace) if workspace else []
    verdicts = judge(gates, read_json(file)).gates if file else [None] * len(gates)
    table = Table(title="Gates: a metric that is missing or not a number fails", title_justify="left")
    for column in ("gate", "scope", "demands", "measured on", *(("margin", "verdict") if file else ())):
        table.add_column(column)
    for gate, verdict in zip(gates, verdicts, strict=True):
        known = METRICS.get(gate.metric) or METRICS.get(gate.metric.split(".")[-1])
        row = [escape(gate.name), gate.scope, escape(str(gate)), known.scope if known else "–"]
        if verdict is not None:
            hint = "" if verdict.passed else f"; {advice(verdict)}"
            row += [number(verdict.margin), f"{_verdict(verdict)}: {escape(verdict.reason + hint)}"]
        table.add_row(*row)
    (console or Console()).print(table)


def own_gates(workspace: Workspace) -> list[Gate]:
    """The gates that a workspace was judged by.

    Raises:
        InputError: it was not.
    """
    file = workspace.path(Place.GATES)
    if not file.is_file():
        raise InputError(f"{file}: no such file; the run was not judged yet")
    verdicts = GateReport.model_validate(read_json(file)).gates
    return [verdict.gate() for verdict in verdicts]


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
    told = [f"{path}: {why}" for path, why in review.incomplete.items() if path.split(".")[-1] in SHOWN]
    if told:
        table.caption, table.caption_justify = escape("\n".join(told)), "left"
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


def _closing(review: Review, registration: Registration, workspace: Workspace, options: str) -> str:
    name, version = registration.registered_model, registration.version
    lines = [f"Registered {name} version {version}" + (" as [bold]candidate[/]" if registration.alias else "")]
    lines.append(f"Report: {escape(str(workspace.path(Place.REPORT)))}")
    if review.gates.passed and registration.alias:
        lines.append(f"Next, when you have reviewed it: [bold]{_program()} models promote {name} {version}[/]")
    elif not review.gates.passed:
        lines.append("[bold red]Gates failed: nothing became candidate.[/] Every reason:")
        failed = [gate for gate in review.gates.gates if not gate.passed]
        lines += [escape(f"  {gate.name}: {gate.reason}\n    {advice(gate)}") for gate in failed]
        lines.append(f"Next: change these knobs, then [bold]{_program()} run --retry-failed{escape(options)}[/]")
        if any(is_still_known(gate) for gate in failed) and not find_adapter(str(workspace.path(Place.MODEL))):
            start = f"{_program()} run --retry-failed{options} --set model.start={version} --set unlearn.min_steps=…"
            lines.append(f"or go on from these weights, in fewer steps: [bold]{escape(start)}[/] (docs/retry.md)")
        rejudge = f"{_program()} rejudge {workspace.root.name}{options}"
        lines.append(f"or, if it is the gates that are wrong, change them, then [bold]{escape(rejudge)}[/]")
    return "\n".join(lines)


def told_again(params: Path, overrides: Sequence[str] | None) -> list[str]:
    """The options `--params` and `--set` of a command, as far as they were given."""
    file = [] if params == DEFAULT_PARAMS else ["--params", str(params)]
    return [*file, *(word for override in overrides or () for word in ("--set", override))]


def _program() -> str:
    """What to type for `unilogit` in this terminal, where the virtual environment may not be active."""
    return "unilogit" if shutil.which("unilogit") else os.path.relpath(Path(sys.executable).parent / "unilogit")
