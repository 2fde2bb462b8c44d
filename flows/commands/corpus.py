"""`unilogit corpus …`: what a model was trained on, looked at before anything is done with it."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import PARAMS, Output, OutputKind, Overrides, ParamsFile, register
from tasks.bad_input import BAD

app = typer.Typer(no_args_is_help=True, help="The corpus: what is in it, and what a run would refuse of it.")


@app.callback()
def _group() -> None:
    """Keeps `check` a command of its own."""


@register(app)
def check(
    path: Annotated[
        Path | None, typer.Argument(help="A file, or a folder of shards; data.corpus when not given.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Refused rows that are told one by one.")] = 20,
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
    output: OutputKind = Output.TABLE,
) -> None:
    """Read a whole corpus as a run would, and say in one page what is in it.

    Files and forms, records, subjects, groups, lengths in tokens, repeats, scripts, and what would be refused: where,
    and why. Texts are not printed; ids of records and names of files are.

    Exit code 0: a run would take it. 2: it would not.
    """
    from tasks.corpus_check import check_corpus
    from tasks.params import load_params
    from tasks.report.corpus_page import print_check

    loaded = load_params(params, set_)
    checked = check_corpus(path or loaded.data.corpus, loaded, limit)
    print_check(checked, output is Output.JSON)
    raise typer.Exit(0 if checked.is_usable else BAD)
