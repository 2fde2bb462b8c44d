"""A certificate as one page for people: what it says, and whether its signature verifies. Knows no files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.report.templates import load_template
from unilogit.certificates import PAYLOAD_TYPE, read, verify
from unilogit.errors import InputError
from unilogit.signing import open_envelope

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

SELECTORS = {"subject_id": "subject id", "aliases": "aliases", "record_ids": "record ids", "text": "text"}


def render_certificate(envelope: bytes, public_keys: "Sequence[SSlibKey]") -> str:
    """The page of a certificate, in HTML that loads nothing.

    Args:
        public_keys: of the signer; the page says whether the certificate verifies with one of them.

    Raises:
        InputError: it is so broken that there is nothing to show.
    """
    certificate = read(envelope)
    try:
        verify(envelope, public_keys)
        problem = None
    except InputError as error:
        problem = str(error)
    return load_template("certificate.html.jinja").render(
        certificate=certificate,
        predicate=certificate.predicate,
        keyid=next(iter(open_envelope(envelope, PAYLOAD_TYPE).signatures), ""),
        problem=problem,
        selectors=SELECTORS,
    )
