"""`unilogit models …`: the registered versions."""

import typer

from flows.commands.options import PARAMS, Overrides, ParamsFile, Person, person, register

app = typer.Typer(no_args_is_help=True, help="Registered versions: list them, promote one.")


@register(app, "list")
def list_models(params: ParamsFile = PARAMS, set_: Overrides = None) -> None:
    """The registered versions with their aliases, gates and batch."""
    from tasks.params import load_params
    from tasks.registry.versions import print_versions

    print_versions(load_params(params, set_).register_.registered_model)


@register(app)
def promote(name: str, version: int, person_: Person = None) -> None:
    """Give a version that passed its gates the alias champion; the next run starts from it."""
    from tasks.registry.versions import promote as give_alias

    typer.echo(give_alias(name, version, person(person_)))
