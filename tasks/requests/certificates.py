"""Certificates of fulfilled requests: signed and kept in `home()`, verified, listed and shown.

What they say is made in evidence.py. Knows nothing of the ledger. Everything can be repeated after a kill; a
certificate that was written is never written again.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from securesystemslib.signer import CryptoSigner, SSlibKey

from tasks.report.certificate import render_certificate
from tasks.report.console import wide_console
from tasks.workspace import Workspace, certificates_folder, keys_folder
from unilogit.certificates import Certificate, read, sign, verify
from unilogit.errors import InputError
from unilogit.files import atomic_path, private_folder, sha256_file
from unilogit.signing import PUBLIC_KEY, generate_keys, load_public_key, load_signer

PASSPHRASE = "UNILOGIT_KEY_PASSPHRASE"  # environment variable; empty is none
_SUPERSEDED = "superseded"  # folder of certificates about versions that were given up
_LONGEST_NAME = 150  # of a file, without what a temporary name adds


def keygen() -> str:
    """Make the keys of this home; where they are, in a sentence.

    Raises:
        InputError: there are keys.
    """
    Workspace(keys_folder()).sweep()
    key = generate_keys(keys_folder(), _passphrase())
    protection = "encrypted" if _passphrase() else f"not encrypted, as {PASSPHRASE} is not set"
    return (
        f"{keys_folder()}: made key {key.keyid}; the private key is {protection}.\n"
        f"Keep a copy of the folder elsewhere, and give {PUBLIC_KEY} to whoever is to verify certificates."
    )


def open_signer() -> CryptoSigner:
    """What signs certificates here.

    Raises:
        InputError: there are no keys, or they cannot be used.
    """
    try:
        return load_signer(keys_folder(), _passphrase())
    except FileNotFoundError:
        raise InputError(
            f"{keys_folder()}: there are no keys to sign certificates with; type `unilogit certificates keygen`"
        ) from None


def _passphrase() -> str | None:
    return os.environ.get(PASSPHRASE) or None


def public_keys(file: Path | None = None) -> list[SSlibKey]:
    """The public key in a file, or every one of this home: those of earlier years verify what they signed.

    Raises:
        InputError: there is none.
    """
    files = [file] if file else sorted(keys_folder().glob("*.pub"))
    try:
        keys = [load_public_key(path) for path in files]
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; give the public key that the certificates were signed with") from None
    if not keys:
        raise InputError(
            f"{keys_folder()}: there is no public key; give the one that the certificates were signed with, or type"
            " `unilogit certificates keygen`"
        )
    return keys


def certificate_file(reference: str) -> Path:
    """Where the certificate of a request lies, whatever the request is called."""
    name = quote(reference, safe="")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > _LONGEST_NAME:
        name = f"{name[:64]}%-{hashlib.sha256(reference.encode()).hexdigest()}"
    return certificates_folder() / f"{name}.json"


def write_certificate(certificate: Certificate, signer: CryptoSigner) -> Path:
    """Sign and keep a certificate; where it lies.

    One of the same request about the same version is there already: it stays, byte for byte. One about another version
    moves to the folder `superseded` and goes on being verified.

    Raises:
        InputError: what is there was changed, or is another request's.
    """
    model = certificate.predicate.model
    file = certificate_file(certificate.predicate.request.reference)
    private_folder(file.parent)
    if file.exists():
        there = _verify_file(file, [*public_keys(), signer.public_key]).predicate.model
        if (there.name, there.version) == (model.name, model.version):
            return file
        supersede_certificate(certificate.predicate.request.reference)
    with atomic_path(file) as temporary:
        temporary.write_bytes(sign(certificate, signer))
    return file


def supersede_certificate(reference: str) -> None:
    """Move the certificate of a request to those that are in force no longer, if there is one."""
    file = certificate_file(reference)
    if file.exists():
        file.replace(private_folder(file.parent / _SUPERSEDED) / f"{file.stem}.{sha256_file(file)[:16]}.json")


def certificate_files() -> list[Path]:
    """Every certificate, those about versions that were given up last."""
    folder = certificates_folder()
    return [file for place in (folder, folder / _SUPERSEDED) for file in sorted(place.glob("[!.]*.json"))]


def sweep_certificates() -> None:
    """Remove what a killed run was in the midst of writing; call it while nobody writes certificates."""
    Workspace(certificates_folder()).sweep()


def verify_certificates(names: Sequence[str] = (), public_key: Path | None = None) -> str:
    """Verify certificates; how many there are, in a sentence.

    Args:
        names: requests, or files; every certificate of this home where there are none.
        public_key: the signer's; every public key of this home when not given.

    Raises:
        InputError: a sentence for each file that does not verify, with what is wrong.
    """
    keys = public_keys(public_key)
    files = [_named(name) for name in names] or certificate_files()
    problems: list[str] = []
    for file in files:
        try:
            _verify_file(file, keys)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return f"{len(files)} certificates, and all of them verify" if len(files) != 1 else f"{files[0]}: it verifies"


def _named(name: str) -> Path:
    """The certificate of a request of this name, or else a file."""
    file = certificate_file(name)
    return file if file.exists() or not Path(name).is_file() else Path(name)


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"{file}: there is no such certificate; `unilogit certificates list` shows those that there are"
        ) from None


def _verify_file(file: Path, keys: Sequence[SSlibKey]) -> Certificate:
    """The certificate in a file; one of this home lies where its request's belongs.

    Raises:
        InputError: names the file and what is wrong.
    """
    try:
        certificate = verify(_read_bytes(file), keys)
    except InputError as error:
        problems = error.problems if str(file) in str(error) else [f"{file}: {problem}" for problem in error.problems]
        raise InputError(*problems) from None
    reference, folder = certificate.predicate.request.reference, certificates_folder()
    right, place = certificate_file(reference), file.absolute()
    is_old = place.parent == folder / _SUPERSEDED and place.name.startswith(f"{right.stem}.")
    if folder in place.parents and place != right and not is_old:
        raise InputError(f"{file}: it is the certificate of request {reference}: it was moved here from {right}")
    return certificate


def show_certificate(name: str, html: Path | None = None, public_key: Path | None = None) -> str:
    """A certificate as indented JSON under what became of its signature, or written as a page.

    Args:
        name: a request, or a file.
        html: the page to write; None for JSON.
        public_key: as in `verify_certificates`.

    Returns:
        What to print.

    Raises:
        InputError: there is none, or it cannot be read at all.
    """
    file = _named(name)
    envelope, keys = _read_bytes(file), public_keys(public_key)
    try:
        certificate = read(envelope)
    except InputError as error:
        raise InputError(*[f"{file}: {problem}" for problem in error.problems]) from None
    if html:
        with atomic_path(html) as temporary:
            temporary.write_text(render_certificate(envelope, keys), encoding="utf-8")
        return f"{html}: written"
    try:
        verify(envelope, keys)
        verdict = f"{file}: the signature verifies"
    except InputError as error:
        verdict = f"{file}: does not verify: {error}"
    content = json.dumps(certificate.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
    return f"{verdict}\n{content}"


def print_certificates(console: Console | None = None) -> None:
    """Print every certificate with its request, version and dates; whether they verify is not asked."""
    columns = ("request", "model", "version", "fulfilled", "due", "in force", "file")
    table = Table(*columns, title="Certificates", title_justify="left")
    for file in certificate_files():
        try:
            predicate = read(file.read_bytes()).predicate
        except InputError as error:
            table.add_row("?", "", "", "", "", "", f"{file}: {error}")
            continue
        request, model = predicate.request, predicate.model
        dates = (f"{time:%Y-%m-%d}" for time in (request.fulfilled_at, request.due_at))
        in_force = "no" if file.parent.name == _SUPERSEDED else "yes"
        table.add_row(request.reference, model.name, model.version, *dates, in_force, str(file))
    (console or wide_console()).print(table if table.row_count else "none")
