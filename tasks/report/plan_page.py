"""What `unilogit plan` found, on the terminal: one page for people, or one JSON object for programs."""

import json
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from tasks.planning.plan import Plan
from tasks.report.console import wide_console
from tasks.report.sizes import tell_bytes, tell_duration


def print_plan(plan: Plan, as_json: bool) -> None:
    """Print it, without a text of the corpus."""
    if as_json:
        said = asdict(plan)
        del said["sketch"]["pairs"]
        print(json.dumps({"schema_version": 1, **said}, ensure_ascii=False))
        return
    console, machine, sketch = wide_console(), plan.machine, plan.sketch
    console.print(
        f"{machine.device}: {tell_bytes(machine.memory)} of memory, {tell_bytes(machine.free_memory)} free; disk of"
        f" UNILOGIT_HOME: {tell_bytes(machine.free_disk)} free. Unlearning: {escape(plan.processes)}."
    )
    console.print(
        f"{sketch.forget:,} of {sketch.records:,} records to forget ({escape(sketch.assumed)}); a record has"
        f" {sketch.tokens:.0f} tokens, the longest at once {sketch.longest:,}."
        f" {plan.steps:,} optimiser steps at the most{_parts(plan)}."
    )
    console.print(_table(plan))
    if plan.pace is not None:
        step = "" if plan.pace.step is None else f"an optimiser step {plan.pace.step:.3g} s, "
        console.print(
            f"Measured: {step}{1 / plan.pace.scored:,.0f} tokens scored a second, {plan.pace.answer:.3g} s an answer."
            " What an earlier run measured of the same models is not measured again."
        )
    else:
        console.print(f"No time is told: {plan.unmeasured}.")
    for problem in plan.problems:
        console.print(f"[red]{escape(problem)}[/]")
    console.print("It does not fit." if plan.problems else "It fits." + _crowded(plan))


def _table(plan: Plan) -> Table:
    table = Table("step", "memory", "of which", "disk", "of which", "time, about")
    for need in plan.needs:
        memory, disk = sum(need.memory.values()), sum(need.disk.values())
        seconds = plan.seconds.get(need.step)
        table.add_row(
            need.step,
            tell_bytes(memory) if memory else "–",
            _told(need.memory),
            tell_bytes(disk) if disk else "–",
            _told(need.disk),
            "–" if seconds is None else tell_duration(seconds),
        )
    if "baselines" in plan.seconds:
        table.add_row("baselines", "as unlearn", "", "", "", tell_duration(plan.seconds["baselines"]))
    memory = max(sum(need.memory.values()) for need in plan.needs)
    disk = sum(sum(need.disk.values()) for need in plan.needs)
    whole = tell_duration(sum(plan.seconds.values())) if plan.seconds else "–"
    table.add_section()
    table.add_row("the run", tell_bytes(memory), "the most of a step", tell_bytes(disk), "", whole)
    return table


def _parts(plan: Plan) -> str:
    parts = max(need.parts for need in plan.needs)
    return f", each worked through in {parts} parts" if parts > 1 else ""


def _told(parts: dict[str, int]) -> str:
    return "\n".join(f"{name} {tell_bytes(size)}" for name, size in parts.items() if size)


def _crowded(plan: Plan) -> str:
    """What else has to go, where it fits only when nothing else is there."""
    memory = max(sum(need.memory.values()) for need in plan.needs)
    if memory <= plan.machine.free_memory:
        return ""
    return (
        f" But only {tell_bytes(plan.machine.free_memory)} of memory are free now: end what else runs here before the"
        " run."
    )
