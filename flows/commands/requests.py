"""`unilogit requests …`: file deletion requests, follow them, decide what only a person can."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import PARAMS, Output, OutputKind, Overrides, ParamsFile, Person, person, register

if TYPE_CHECKING:
    from unilogit.ledger import Ledger

app = typer.Typer(
    no_args_is_help=True,
    help="Deletion requests: file or import them, follow them, decide what only a person can.\n\n"
    "A request is named by its request_id, or by the pseudonym that messages and logs have for it.",
)
Name = Annotated[str, typer.Argument(help="The request_id, or its pseudonym.")]
Reason = Annotated[str, typer.Option("--why", help="Goes into the audit table for good: nobody's data.")]


def _decide(decision: "Callable[[Ledger], None]", told: str) -> None:
    """Let a person's decision be known to the ledger, and say so."""
    from tasks.requests.batches import open_ledger

    with open_ledger() as ledger:
        decision(ledger)
    typer.echo(told)


@register(app)
def add(
    subject: Annotated[str | None, typer.Option(help="Forget everything about this subject_id.")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="Another id or name of that person. May be repeated.")] = None,
    record: Annotated[list[str] | None, typer.Option(help="Forget this record_id. May be repeated.")] = None,
    text: Annotated[str | None, typer.Option(help="Forget what says this.")] = None,
    request_id: Annotated[str | None, typer.Option(help="Unique; made up when not given.")] = None,
    legal_basis: Annotated[str | None, typer.Option(help="E.g. GDPR Art. 17(1)(b).")] = None,
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
) -> None:
    """File one deletion request; the next run takes it."""
    from tasks.params import load_params
    from unilogit.data.request_files import file_request

    inbox = load_params(params, set_).data.requests
    filed = file_request(inbox, subject, record or [], request_id, legal_basis, aliases=alias or [], text=text)
    typer.echo(f"{filed}: filed. Next: unilogit run")


@register(app, "import")
def import_file(
    file: Annotated[str, typer.Argument(help="A file of deletion requests, or a folder of them.")],
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
) -> None:
    """Take a file's requests into the ledger at once; the next run works on them.

    Exit code 2 when every row was refused.
    """
    from tasks.params import load_params
    from tasks.requests.batches import take_in_new
    from unilogit.errors import InputError

    if problems := take_in_new(file, load_params(params, set_), "unilogit requests import"):
        raise InputError(*problems)


@register(app, "list")
def list_requests(
    state: Annotated[str | None, typer.Option(help="Only requests in this state.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the most urgent first.")] = None,
    output: OutputKind = Output.TABLE,
) -> None:
    """Requests by urgency: state, batch and due date."""
    from tasks.requests.listing import print_requests

    print_requests(state, limit, output == Output.JSON)


@register(app)
def show(name: Name, output: OutputKind = Output.TABLE) -> None:
    """One request: where it stands, and every move from its arrival on."""
    from tasks.requests.listing import print_request

    print_request(name, output == Output.JSON)


@register(app)
def withdraw(name: Name, person_: Person = None) -> None:
    """Take a request back; that cannot be undone once a model has unlearned it."""
    _decide(
        lambda ledger: ledger.withdraw(name, person(person_)),
        f"{name}: withdrawn. To undo: unilogit requests reopen {name}",
    )


@register(app)
def reopen(name: Name, why: Reason, person_: Person = None) -> None:
    """Let a request that has ended be worked on again by the next run."""
    _decide(lambda ledger: ledger.reopen(name, person(person_), why), f"{name}: pending again. Next: unilogit run")


@register(app)
def retry(name: Name, person_: Person = None) -> None:
    """Let a request whose batch failed be worked on again by the next run."""
    _decide(lambda ledger: ledger.retry(name, person(person_)), f"{name}: pending again. Next: unilogit run")


@register(app)
def approve(name: Name, person_: Person = None) -> None:
    """Let a held request go on although it matches much, or although copies of its records were found."""
    _decide(lambda ledger: ledger.approve(name, person(person_)), f"{name}: approved. Next: unilogit run")


@register(app)
def refuse(name: Name, why: Reason, person_: Person = None) -> None:
    """Refuse a held request."""
    _decide(
        lambda ledger: ledger.refuse(name, person(person_), why),
        f"{name}: refused. To undo: unilogit requests reopen {name}",
    )


@register(app)
def close(name: Name, why: Reason, person_: Person = None) -> None:
    """Close a request of which nothing was found; it is not looked for any longer."""
    _decide(
        lambda ledger: ledger.close(name, person(person_), why),
        f"{name}: closed as not found. To undo: unilogit requests reopen {name}",
    )


@register(app)
def overdue(
    hours: Annotated[
        float | None,
        typer.Option("--within", help="Hours until the next run; requests.hours_between_runs when not given."),
    ] = None,
    output: OutputKind = Output.TABLE,
    params: ParamsFile = PARAMS,
    set_: Overrides = None,
) -> None:
    """Requests that are late, or will be before the next run. Exit code 1 when there is one."""
    from tasks.params import load_params
    from tasks.requests.listing import print_overdue

    hours = load_params(params, set_).requests.hours_between_runs if hours is None else hours
    raise typer.Exit(1 if print_overdue(hours, output == Output.JSON) else 0)


@register(app)
def verify() -> None:
    """Prove that audit table, requests and certificates are as they were written. Exit code 2 names what is not."""
    from tasks.requests.proof import verify_requests

    typer.echo(verify_requests())


@register(app)
def quarantine(output: OutputKind = Output.TABLE) -> None:
    """The rows that were refused, why, and the files in which they are kept."""
    from tasks.requests.listing import print_refused

    print_refused(output == Output.JSON)
