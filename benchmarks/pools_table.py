"""docs/gates.md from the result of benchmarks.pools. Measures nothing."""

from pathlib import Path
from typing import Any

from benchmarks.pools import NEVER
from tasks.report.names import number
from unilogit.gates import GateVerdict

INTRODUCTION = """\
# Gates on forgetting

Written by `python -m benchmarks.table`; `python -m benchmarks.pools` measures it again. What each gate demands is in
`params.yaml`; how one with an allowance is judged, and how single people are, is in [retain_model.md](retain_model.md).

A gate is worth something where it tells a model that never knew the people from one that knows them, or that shows that
it was made to forget them. So it is tried on pools of models of the example, several seeds each, all beside one retain
model:

- *never known*: retain models of other seeds. They have to pass.
- *known*: trained on everybody.
- *half forgotten*: unlearned to 1/V for a few steps.
- *refusing*: taught to say that it does not know (`idk_dpo`) for as many steps as *default*, which hardly changes
  how likely it finds the answers.
- *over-forgotten*: driven to 1/V long after it was enough, without unseen people to compare with (or it would end where
  it was nearest to them).
- *default*: what the shipped parameters make of a model that knows. It should pass, too.

Values are the least and the most in a pool. *AUC* is how often a gate's margin is wider for a model that never knew
than for one of another pool (1: always, 0.5: it cannot tell). A gate against what is still known need not see what is
over-forgotten, nor the other way round: in bold are the pools that it tells apart.
"""
TELLS = 0.9


def auc(never: list[float], known: list[float]) -> float:
    """How often a margin of the first is wider than one of the second; ties count half."""
    pairs = [(one, two) for one in never for two in known]
    return sum((one > two) + (one == two) / 2 for one, two in pairs) / len(pairs)


def pools_section(result: dict[str, Any]) -> str:
    """The models as they are, and relearned."""
    heading = f"## {result['forgotten']} records to forget: {result['hardware']}, {result['seeds']} seeds"
    again = (
        "The same models, each trained on a tenth of the forget set for as long as the attack `relearning` is at"
        " its hardest, by the gates that need no attack; beside the retain model as it is:"
    )
    return "\n".join([heading, "", _pools(result["pools"]), "", again, "", _pools(result["relearned"])]) + "\n"


SMALL = """\
## Small batches: {hardware}

The models above, as they were measured, in batches of a few people drawn from the forget set ({draws} draws of each
size): the share that passes the gates on the LOSS attack and PrivLeak. In brackets, what it would be if no threshold
made way for chance, two standard errors ([retain_model.md](retain_model.md)).
"""


def small_section(result: dict[str, Any]) -> str:
    """A row for each pool: what share of draws passes, of the least and the most of its models, by the batch's size."""
    pools: dict[str, list[dict[str, Any]]] = result["pools"]
    records = {measured["people"]: measured["records"] for measured in pools[NEVER]}
    titles = [f"{people}, about {size:.0f} records" for people, size in records.items()]
    lines = [f"| people | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(titles)}"]
    for pool, measured in pools.items():
        cells = [
            f"{_shares(measured, people, 'passed')} ({_shares(measured, people, 'passed_without')})"
            for people in records
        ]
        lines.append(f"| {pool} | {' | '.join(cells)} |")
    draws = max(measured["draws"] for measured in pools[NEVER])
    return "\n".join([SMALL.format(hardware=result["hardware"], draws=draws), *lines]) + "\n"


def _shares(measured: list[dict[str, Any]], people: int, name: str) -> str:
    shares = sorted(draw[name] for draw in measured if draw["people"] == people)
    return " … ".join(dict.fromkeys(f"{share:.0%}" for share in (shares[0], shares[-1])))


def _pools(measured: dict[str, Any]) -> str:
    """A row for each gate: what it demands, its values in each pool, and its AUC against each other pool."""
    pools: dict[str, list[dict[str, GateVerdict]]] = {
        name: [{gate: GateVerdict.model_validate(verdict) for gate, verdict in model.items()} for model in models]
        for name, models in measured.items()
    }
    compared = [name for name in pools if name != NEVER]
    titles = [NEVER, *(f"{name} (AUC)" for name in compared)]
    lines = [
        f"| gate | metric | {' | '.join(titles)} |",
        f"| --- | --- |{' ---: |' * len(titles)}",
    ]
    for gate, verdict in pools[NEVER][0].items():
        margins = {name: [model[gate].margin for model in models] for name, models in pools.items()}
        cells = [_values(pools[NEVER], gate)]
        for name in compared:
            told = "–"
            if None not in (*margins[name], *margins[NEVER]):
                value = auc([m for m in margins[NEVER] if m is not None], [m for m in margins[name] if m is not None])
                told = f"**{value:.2f}**" if value >= TELLS else f"{value:.2f}"
            cells.append(f"{_values(pools[name], gate)} ({told})")
        lines.append(f"| {gate} | `{verdict.metric}` {verdict.op} | {' | '.join(cells)} |")
    passed = {name: sum(_passes(model) for model in models) for name, models in pools.items()}
    told = ", ".join(f"{count} of {len(pools[name])} *{name}*" for name, count in passed.items())
    return "\n".join([*lines, "", f"Models that pass every gate on forgetting: {told}."])


def _values(models: list[dict[str, GateVerdict]], gate: str) -> str:
    values = [model[gate].value for model in models]
    known = sorted(value for value in values if value is not None)
    if not known:
        return "–"
    ends = dict.fromkeys((number(known[0]), number(known[-1])))
    return " … ".join(ends)


def _passes(model: dict[str, GateVerdict]) -> bool:
    return all(verdict.passed for verdict in model.values())


def write_gates(results: list[dict[str, Any]], small: list[dict[str, Any]], folder: Path) -> Path:
    """Write the page; where it is.

    Args:
        results: of benchmarks.pools.
        small: of benchmarks.small_batches.
    """
    page = folder / "gates.md"
    page.write_text("\n".join([INTRODUCTION, *map(pools_section, results), *map(small_section, small)]))
    return page
