"""`unilogit models …`: the registered versions, and who of them is champion."""

from typing import Annotated

import typer

from flows.commands.options import PARAMS, Output, OutputKind, Overrides, ParamsFile, Person, person, register

app = typer.Typer(no_args_is_help=True, help="Registered versions: list and compare them, promote one, go back.")
Name = Annotated[str, typer.Argument(help="Of the registered model.")]
Version = Annotated[int, typer.Argument(min=1, help="Its number.")]
GiveUp = Annotated[
    list[str] | None,
    typer.Option("--give-up", help="A batch that this undoes: its requests wait again. May be repeated."),
]


@register(app, "list")
def list_models(params: ParamsFile = PARAMS, set_: Overrides = None, output: OutputKind = Output.TABLE) -> None:
    """The registered versions: aliases, gates, batch, parent, and which may be champion, or why not."""
    from tasks.params import load_params
    from tasks.registry.listing import print_versions

    print_versions(load_params(params, set_).register_.registered_model, output is Output.JSON)


@register(app)
def show(
    version: Version, params: ParamsFile = PARAMS, set_: Overrides = None, output: OutputKind = Output.TABLE
) -> None:
    """A version: what it descends from, whether its files are whole, tags, gates, data, metrics and links."""
    from tasks.params import load_params
    from tasks.registry.listing import print_version

    print_version(load_params(params, set_).register_.registered_model, str(version), output is Output.JSON)


@register(app)
def diff(
    first: Version,
    second: Version,
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
    output: OutputKind = Output.TABLE,
) -> None:
    """Two versions side by side: parameters that differ, gates, data and metrics."""
    from tasks.params import load_params
    from tasks.registry.listing import print_difference

    name = load_params(params, set_).register_.registered_model
    print_difference(name, (str(first), str(second)), output is Output.JSON)


@register(app)
def promote(name: Name, version: Version, give_up: GiveUp = None, person_: Person = None) -> None:
    """Make a version champion: one that passed its gates and undoes no batch but those that are given up."""
    from tasks.requests.promotion import promote as make_champion

    typer.echo(make_champion(name, str(version), person(person_), give_up or []))


@register(app)
def rollback(name: Name, give_up: GiveUp = None, person_: Person = None) -> None:
    """Go back to what the champion was made from; the batches that this undoes must be named."""
    from tasks.requests.promotion import rollback as go_back

    typer.echo(go_back(name, person(person_), give_up or []))
