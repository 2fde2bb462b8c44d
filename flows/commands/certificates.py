"""`unilogit certificates …`: signed proof of every fulfilled request."""

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import register

app = typer.Typer(
    no_args_is_help=True,
    help="Certificates: signed proof that a request was fulfilled, which anybody can verify with the public key.",
)
PublicKey = Annotated[
    Path | None, typer.Option("--public-key", help="Who must have signed; this home's own key when not given.")
]


@register(app)
def keygen() -> None:
    """Make the Ed25519 key that signs certificates; an existing one is never replaced."""
    from tasks.requests.certificates import keygen as make_keys

    typer.echo(make_keys())


@register(app, "list")
def list_certificates() -> None:
    """The certificates of this home."""
    from tasks.requests.certificates import print_certificates

    print_certificates()


@register(app)
def show(
    name: Annotated[str, typer.Argument(help="A request, or a file.")],
    html: Annotated[Path | None, typer.Option(help="Write it as one HTML page to this file.")] = None,
    public_key: PublicKey = None,
) -> None:
    """What a certificate says, as JSON or as a page to read and print, and whether its signature verifies."""
    from tasks.requests.certificates import show_certificate

    typer.echo(show_certificate(name, html, public_key))


@register(app)
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Files or requests; every certificate of this home when not given.")
    ] = None,
    public_key: PublicKey = None,
) -> None:
    """Check signatures and content. Exit code 2 when one does not verify, which is named."""
    from tasks.requests.certificates import verify_certificates

    typer.echo(verify_certificates(names or [], public_key))
