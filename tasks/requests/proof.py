"""Whether what the ledger and the certificates say is what was written. Changes nothing."""

from tasks.requests.batches import open_ledger
from tasks.requests.certificates import certificate_file, certificate_files, verify_certificates
from unilogit.errors import InputError
from unilogit.files import sha256_file
from unilogit.ledger import LedgerRow


def verify_requests() -> str:
    """Check the audit table, the requests and their certificates; what was checked, in a sentence.

    Raises:
        InputError: a sentence for everything that was changed or is gone.
    """
    problems: list[str] = []
    with open_ledger() as ledger:
        try:
            moves = ledger.verify_audit()
        except InputError as error:
            problems += error.problems
        problems += [
            f"request {name}: what it asks was changed in the ledger; restore the ledger from a backup"
            for name in ledger.changed_requests()
        ]
        problems += [problem for row in ledger.requests() if (problem := _wrong_certificate(row))]
    if certificate_files():
        try:
            verify_certificates()
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return f"{moves} moves, and every request and certificate, are as they were written"


def _wrong_certificate(row: LedgerRow) -> str | None:
    """What is wrong with the certificate that the ledger knows of; None where nothing is."""
    if row.certificate_sha256 is None:
        return None
    file = certificate_file(row.reference)
    if not file.exists():
        return f"request {row.reference}: its certificate, {file}, is gone; restore it from a backup"
    if sha256_file(file) != row.certificate_sha256:
        return f"request {row.reference}: {file} is not the certificate that was written; restore it from a backup"
    return None
