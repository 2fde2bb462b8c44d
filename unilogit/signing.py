"""Signed envelopes: bytes that nobody can change unnoticed, and the Ed25519 keys that they are signed with.

An envelope is DSSE (github.com/secure-systems-lab/dsse) with one signature, by securesystemslib; whoever has the public
key can verify it offline. Knows nothing of what is signed.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from unilogit.errors import InputError
from unilogit.files import atomic_path, private_folder

PRIVATE_KEY, PUBLIC_KEY = "certificates.key", "certificates.pub"  # files of a folder of keys, PEM


def generate_keys(folder: Path, passphrase: str | None) -> SSlibKey:
    """Make a pair of keys: PRIVATE_KEY for its owner's eyes only, PUBLIC_KEY for everybody's.

    A call after a kill completes the pair.

    Args:
        folder: made, or narrowed to its owner.
        passphrase: that the private key is encrypted with; None for none.

    Returns:
        The public key.

    Raises:
        InputError: there is a public key, or a private key that the passphrase does not open.
    """
    private, public = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    if public.exists():
        raise InputError(
            f"{public}: there is a key already; to use another one from now on, move {PRIVATE_KEY} away and rename"
            f" {PUBLIC_KEY} to another name that ends in .pub: what it signed is verified with it"
        )
    private_folder(folder)
    if not private.exists():
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase:
            encryption = BestAvailableEncryption(passphrase.encode())
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        _write(private, pem, 0o600)
    key = _read_private(private, passphrase).public_key()
    _write(public, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return SSlibKey.from_crypto(key)


def _write(file: Path, content: bytes, mode: int) -> None:
    with atomic_path(file) as temporary:
        temporary.chmod(mode)
        temporary.write_bytes(content)


def _read_private(file: Path, passphrase: str | None) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), passphrase.encode() if passphrase else None)
    except TypeError:
        words = "is not encrypted; give no passphrase" if passphrase else "is encrypted; give its passphrase"
        raise InputError(f"{file}: the private key {words}") from None
    except ValueError:
        words = "the passphrase is wrong, or it is" if passphrase else "it is"
        raise InputError(f"{file}: {words} no private key in PEM; give the right one") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{file}: not an Ed25519 key; give one that is")
    return key


def load_signer(folder: Path, passphrase: str | None) -> CryptoSigner:
    """What signs with the private key of a folder.

    Raises:
        InputError: the folder has no such key, the passphrase does not open it, or the public key beside it is another
            one's.
        FileNotFoundError: there is no private or no public key.
    """
    key = _read_private(folder / PRIVATE_KEY, passphrase)
    public = load_public_key(folder / PUBLIC_KEY)
    if SSlibKey.from_crypto(key.public_key()) != public:
        raise InputError(
            f"{folder / PUBLIC_KEY}: not the public key of {PRIVATE_KEY} beside it; put the right one there"
        )
    return CryptoSigner(key, public)


def load_public_key(file: Path) -> SSlibKey:
    """A public key in PEM; its keyid is the one that securesystemslib gives it.

    Raises:
        InputError: it is none, or not of Ed25519.
        FileNotFoundError: there is no such file.
    """
    try:
        key = load_pem_public_key(file.read_bytes())
    except ValueError:
        raise InputError(f"{file}: no public key in PEM; give the file {PUBLIC_KEY} of the signer") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{file}: not an Ed25519 key; give the file {PUBLIC_KEY} of the signer")
    return SSlibKey.from_crypto(key)


def sign_payload(payload: bytes, payload_type: str, signer: CryptoSigner) -> bytes:
    """The envelope of a payload; always the same for the same payload and key, as Ed25519 draws nothing."""
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(signer)
    return _as_bytes(envelope)


def _as_bytes(envelope: Envelope) -> bytes:
    return json.dumps(envelope.to_dict(), sort_keys=True, indent=2).encode() + b"\n"


def open_envelope(envelope: bytes, payload_type: str) -> Envelope:
    """An envelope, whose signature is not looked at.

    Raises:
        InputError: it is none, or holds another type of payload.
    """
    try:
        opened = Envelope.from_dict(json.loads(envelope))
        if not isinstance(opened.payload_type, str):
            raise TypeError
    except Exception:  # of many kinds: the library trusts that an envelope is one
        raise InputError("not a DSSE envelope: it was cut off or changed") from None
    if opened.payload_type != payload_type:
        raise InputError(f"its payload type is {opened.payload_type!r} instead of {payload_type!r}: it was changed")
    return opened


def verify_payload(envelope: bytes, payload_type: str, public_keys: Iterable[SSlibKey]) -> bytes:
    """The payload of an envelope that was signed with one of these keys, and in which not a byte was changed since.

    Raises:
        InputError: says what is wrong.
    """
    opened = open_envelope(envelope, payload_type)
    if len(opened.signatures) != 1:
        raise InputError(f"it has {len(opened.signatures)} signatures instead of one: it was changed")
    (signature,), keys = opened.signatures.values(), {key.keyid: key for key in public_keys}
    signed_with = signature.keyid
    if signed_with not in keys:
        raise InputError(
            f"it is signed with key {signed_with}, not with {' or '.join(keys) or 'any that is here'}: give the public"
            " key that it was signed with, or it was changed"
        )
    try:
        opened.verify([keys[signed_with]], threshold=1)
    except VerificationError:
        raise InputError("its signature does not verify: what it says, or the signature, was changed") from None
    plain = Signature(signed_with, signature.signature)  # without fields that nobody knows and nobody signed
    if _as_bytes(Envelope(opened.payload, opened.payload_type, {signed_with: plain})) != envelope:
        raise InputError("the bytes around what is signed are not as they were written: it was changed")
    return bytes(opened.payload)
