"""`unilogit …`: the door to every floor.

Imports nothing heavy until a command needs it, so that `--help` is instant. Holds no logic of its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import certificates, corpus, models, requests, study
from flows.commands.options import PARAMS, Output, OutputKind, Overrides, ParamsFile, register
from tasks.command import run_command

if TYPE_CHECKING:
    from tasks.doctor import Finding

app = typer.Typer(
    name="unilogit",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Make a language model forget the people who asked to be forgotten, on schedule, with proof.\n\n"
    "Start with [bold]unilogit demo[/]. State lives under UNILOGIT_HOME (./var); every knob is in params.yaml.",
)
gates_app = typer.Typer(no_args_is_help=True, help="What a model must show before it may be promoted.")
app.add_typer(corpus.app, name="corpus")
app.add_typer(requests.app, name="requests")
app.add_typer(gates_app, name="gates")
app.add_typer(models.app, name="models")
app.add_typer(certificates.app, name="certificates")
register(app)(study.study)


@register(app)
def demo(params: ParamsFile = PARAMS, set_: Overrides = None) -> None:
    """The whole story on fictitious people: train a small model, forget some, judge, register."""
    from tasks.params import load_params
    from tasks.steps import example, train

    loaded = load_params(params, set_)
    workspace = example.example_workspace(loaded)
    for step in (example.STEP, train.STEP):
        typer.echo(str(step.run(workspace, loaded)))
    _run(None, params, set_, retry_failed=False)


@register(app)
def run(
    requests: Annotated[
        str | None, typer.Option(help="A file or folder of deletion requests; data.requests when not given.")
    ] = None,
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
    retry_failed: Annotated[bool, typer.Option(help="Take requests whose batch failed its gates, too.")] = False,
) -> None:
    """Unlearn what the pending requests ask for, in this process; no server is needed.

    Exit code 0: done, or nothing to do. 1: gates failed. 2: the input cannot be used, or matches nothing.
    75: a server does not answer, or another run is at work; try again later.
    """
    _run(requests, params, set_, retry_failed)


def _run(requests: str | None, params: Path, overrides: list[str] | None, retry_failed: bool) -> None:
    from flows.unlearn import run_in_process

    raise typer.Exit(run_in_process(requests, params, overrides, retry_failed))


@register(app)
def plan(
    forget: Annotated[
        int | None, typer.Option(min=1, help="Records to forget; those that waiting requests name when not given.")
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Load no model and time nothing: memory and disk alone.")
    ] = False,
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
    output: OutputKind = Output.TABLE,
) -> None:
    """What a run will need of memory, disk and time, step by step, and what to change where it does not fit.

    Exit code 0: it fits. 2: it does not.
    """
    from tasks.bad_input import BAD
    from tasks.params import load_params
    from tasks.planning.plan import make_plan
    from tasks.report.plan_page import print_plan

    made = make_plan(load_params(params, set_), forget, measure=not no_measure)
    print_plan(made, output is Output.JSON)
    raise typer.Exit(BAD if made.problems else 0)


@register(app)
def dvc(params: ParamsFile = PARAMS, set_: Overrides = None) -> None:
    """Write dvc.yaml from what the steps declare; `dvc repro` then runs them."""
    from tasks.dvc import write_stages
    from tasks.params import load_params

    typer.echo(write_stages(load_params(params, set_)))


@register(app)
def up() -> None:
    """Start Prefect and MLflow servers, a worker and the deployments on this machine, until Ctrl-C."""
    from flows.serve import up as start

    raise typer.Exit(start())


@register(app)
def reproduce(
    version: Annotated[int, typer.Argument(help="Of the registered model.")],
    model: Annotated[
        str | None, typer.Option(help="The registered model; register.registered_model when not given.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave data and weights there, until the next purge.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Make a version's weights again, from its data, params and parent, and compare them bit for bit.

    Exit code 0: they are the same. 1: they are not. 2: it cannot be made again, e.g. because its data were purged.
    """
    from tasks.params import load_params
    from tasks.registry.reproduce import reproduce as make_again

    name = model or load_params(params).register_.registered_model
    outcome = make_again(name, str(version), keep=keep, tell=typer.echo)
    typer.echo(str(outcome))
    raise typer.Exit(not outcome.is_same)


@register(app)
def methods() -> None:
    """The unlearning methods: name, source, knobs in params.yaml under `unlearn`, published retain term."""
    from rich.console import Console
    from rich.table import Table

    from unilogit.losses.registry import METHODS

    table = Table("method", "source", "knobs", "retain term")
    for name, method in METHODS.items():
        table.add_row(name, method.source, ", ".join(method.knob_names) or "–", method.retain_term)
    Console().print(table)


@register(app)
def evaluate(
    model: Annotated[str, typer.Argument(help="A Hugging Face folder or hub name.")],
    data: Annotated[str, typer.Option(help="The benchmark's folder, or its name on the hub.")],
    suite: Annotated[str, typer.Option(help="tofu, muse, or corpora: a folder of corpus records.")] = "tofu",
    split: Annotated[str | None, typer.Option(help="TOFU: forget01, forget05 or forget10 (when not given).")] = None,
    retain_model: Annotated[
        str | None, typer.Option(help="The model trained on the retain set alone: the retain model.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A folder for metrics.json and the examples.")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens at once; as many as memory holds when not given.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Where a generated answer is cut.")] = 200,
    max_examples: Annotated[int | None, typer.Option(min=1, help="The first of each set; all when not given.")] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness", help="Attack as well: relearning, quantisation, wordings, clues, prefix, samples, layers."
        ),
    ] = False,
    relearning_rate: Annotated[
        float, typer.Option(min=0, help="Of the attack `relearning`; a small model needs some 1e-4.")
    ] = 1e-5,
) -> None:
    """Measure any model on a benchmark; `unilogit metrics` says what the numbers mean."""
    from tasks.benchmark import run_suite

    run_suite(
        model,
        suite,
        data,
        split,
        retain_model,
        output,
        batch_tokens=batch_tokens,
        max_new_tokens=max_new_tokens,
        max_examples=max_examples,
        robustness=robustness,
        relearning_rate=relearning_rate,
    )


@register(app)
def metrics() -> None:
    """The metrics: what each is measured on, its range, which end is good after unlearning, source.

    `low → high`: low on what is to be forgotten, high on what is to be kept.
    """
    from rich.console import Console
    from rich.table import Table

    from unilogit.evaluation.registry import METRICS

    table = Table("metric", "measured on", "range", "good", "source")
    for name, metric in METRICS.items():
        table.add_row(name, metric.scope, metric.range, metric.good, metric.source)
    Console().print(table)


@register(gates_app, "explain")
def explain_gates(
    workspace: Annotated[
        Path | None, typer.Argument(help="A run's folder: its own gates, with what it measured.")
    ] = None,
    params: Annotated[
        Path | None, typer.Option(help="Gates of this file instead of the run's own; params.yaml without a run.")
    ] = None,
    set_: Overrides = None,
) -> None:
    """Every gate in words; with a run's folder its value, threshold, margin, reason, and what would help."""
    from tasks.params import load_params
    from tasks.report.terminal import print_gates
    from tasks.workspace import Workspace

    own = workspace is not None and params is None and not set_
    print_gates(None if own else load_params(params or PARAMS, set_).gates, Workspace(workspace) if workspace else None)


@register(app)
def rejudge(
    batch: Annotated[str, typer.Argument(help="A batch that failed its gates, as `unilogit requests list` shows it.")],
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
) -> None:
    """Apply the gates of params.yaml to what a failed batch's run measured, without measuring again.

    Exit code 0: they pass, and the version may be promoted. 1: they fail, and nothing is changed.
    """
    from flows.rejudge import rejudge as judge_again

    raise typer.Exit(judge_again(batch, params, set_))


@register(app)
def doctor() -> None:
    """What is installed, which servers answer, what is at work or stuck, and what to do.

    Exit code 1: something is missing, or needs a person.
    """
    from tasks.doctor import examine, prefect_api

    def findings() -> "Iterator[Finding]":
        from flows.health import findings

        return findings(prefect_api())

    raise typer.Exit(examine(findings))


@register(app)
def reconcile(params: ParamsFile = PARAMS, set_: Overrides = None) -> None:
    """Close the requests of the version that was promoted, and write their certificates."""
    from flows.reconcile import reconcile_in_process

    raise typer.Exit(reconcile_in_process(params, set_))


@register(app)
def purge(params: ParamsFile = PARAMS, set_: Overrides = None) -> None:
    """Remove the texts of requests that ended longer than requests.keep_days ago; hashes and certificates stay."""
    from flows.purge import purge_in_process

    raise typer.Exit(purge_in_process(params, set_))


def main() -> None:
    run_command(lambda: app(prog_name="unilogit"))


if __name__ == "__main__":
    main()
