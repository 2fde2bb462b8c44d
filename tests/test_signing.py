"""Keys that nobody else can read or replace, and envelopes in which no byte can be changed unnoticed."""

import json
import stat
from base64 import b64decode, b64encode

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from hypothesis import given
from hypothesis import strategies as st

from unilogit.errors import InputError
from unilogit.files import sha256_json
from unilogit.signing import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    generate_keys,
    load_public_key,
    load_signer,
    sign_payload,
    verify_payload,
)

TYPE = "text/plain"
PAYLOAD = "Zoë said: {}\n".encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home") / "keys"
    generate_keys(folder, None)
    return folder


@pytest.fixture(scope="module")
def signer(folder):
    return load_signer(folder, None)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_pair_is_made_once_for_its_owners_eyes(tmp_path, passphrase):
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)
    key = generate_keys(folder, passphrase)
    assert (mode(folder), mode(folder / PRIVATE_KEY)) == (0o700, 0o600)
    assert (b"ENCRYPTED" in (folder / PRIVATE_KEY).read_bytes()) == (passphrase is not None)
    before = contents(folder)
    assert set(before) == {PRIVATE_KEY, PUBLIC_KEY}
    with pytest.raises(InputError, match="there is a key already"):
        generate_keys(folder, passphrase)
    assert contents(folder) == before
    assert load_public_key(folder / PUBLIC_KEY) == key == load_signer(folder, passphrase).public_key


def test_the_keyid_is_the_digest_of_the_public_key(folder):
    raw = load_pem_public_key((folder / PUBLIC_KEY).read_bytes()).public_bytes(Encoding.Raw, PublicFormat.Raw)
    digest = sha256_json({"keytype": "ed25519", "keyval": {"public": raw.hex()}, "scheme": "ed25519"})
    assert load_public_key(folder / PUBLIC_KEY).keyid == digest


def test_a_pair_that_a_kill_left_half_made_is_completed(tmp_path):
    key = generate_keys(tmp_path / "keys", "secret")
    (tmp_path / "keys" / PUBLIC_KEY).unlink()
    assert generate_keys(tmp_path / "keys", "secret") == key


@pytest.mark.parametrize(
    ("made_with", "opened_with", "problem"),
    [("a", "b", "passphrase is wrong"), ("a", None, "is encrypted"), (None, "b", "is not encrypted")],
)
def test_a_passphrase_that_does_not_fit_is_told(tmp_path, made_with, opened_with, problem):
    generate_keys(tmp_path, made_with)
    with pytest.raises(InputError, match=f"{PRIVATE_KEY}: .*{problem}"):
        load_signer(tmp_path, opened_with)


def test_keys_that_do_not_belong_together_or_are_of_another_kind_are_told(tmp_path):
    for name in ("one", "other"):
        generate_keys(tmp_path / name, None)
    (tmp_path / "other" / PUBLIC_KEY).replace(tmp_path / "one" / PUBLIC_KEY)
    with pytest.raises(InputError, match="not the public key of"):
        load_signer(tmp_path / "one", None)
    elliptic = ec.generate_private_key(ec.SECP256R1())
    private = elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "one" / PRIVATE_KEY).write_bytes(private)
    public = elliptic.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "one" / PUBLIC_KEY).write_bytes(public)
    with pytest.raises(InputError, match="not an Ed25519 key"):
        load_signer(tmp_path / "one", None)
    with pytest.raises(InputError, match="not an Ed25519 key"):
        load_public_key(tmp_path / "one" / PUBLIC_KEY)
    (tmp_path / "one" / PUBLIC_KEY).write_bytes(private)
    with pytest.raises(InputError, match="no public key in PEM"):
        load_public_key(tmp_path / "one" / PUBLIC_KEY)


def assert_as_specified(envelope, payload, payload_type, public_pem):
    """What github.com/secure-systems-lab/dsse/blob/master/protocol.md says, by cryptography alone."""
    content = json.loads(envelope)
    assert set(content) == {"payload", "payloadType", "signatures"}
    assert b64decode(content["payload"], validate=True) == payload
    length = len(payload_type.encode())
    signed = b"DSSEv1 " + f"{length} {payload_type} {len(payload)} ".encode() + payload
    (signature,) = content["signatures"]
    load_pem_public_key(public_pem).verify(b64decode(signature["sig"], validate=True), signed)


@given(payload=st.binary(), payload_type=st.text(st.characters(codec="utf-8")))
def test_every_payload_comes_back_and_is_signed_as_dsse_has_it(folder, signer, payload, payload_type):
    envelope = sign_payload(payload, payload_type, signer)
    assert envelope == sign_payload(payload, payload_type, load_signer(folder, None))
    assert verify_payload(envelope, payload_type, [signer.public_key]) == payload
    assert_as_specified(envelope, payload, payload_type, (folder / PUBLIC_KEY).read_bytes())


def test_the_closed_form_can_fail(folder, signer):
    with pytest.raises(InvalidSignature):
        assert_as_specified(
            sign_payload(PAYLOAD, TYPE, signer), PAYLOAD, TYPE + "x", (folder / PUBLIC_KEY).read_bytes()
        )


@given(data=st.data())
def test_every_changed_byte_is_found(signer, data):
    envelope = sign_payload(PAYLOAD, TYPE, signer)
    place = data.draw(st.integers(0, len(envelope) - 1))
    instead = data.draw(st.binary(max_size=3).filter(lambda text: text != envelope[place : place + 1]))
    changed = envelope[:place] + instead + envelope[place + 1 :]
    if changed == envelope:  # inserting what stands there anyway and leaving out the next
        return
    with pytest.raises(InputError):
        verify_payload(changed, TYPE, [signer.public_key])


def test_every_bit_of_every_byte_counts(signer):
    envelope = sign_payload(PAYLOAD, TYPE, signer)
    for place, byte in enumerate(envelope):
        for bit in range(8):
            changed = envelope[:place] + bytes([byte ^ (1 << bit)]) + envelope[place + 1 :]
            with pytest.raises(InputError):
                verify_payload(changed, TYPE, [signer.public_key])


def changed(envelope, **fields):
    return json.dumps({**json.loads(envelope), **fields}, sort_keys=True, indent=2).encode() + b"\n"


def test_what_is_wrong_is_named(signer, tmp_path):
    envelope = sign_payload(PAYLOAD, TYPE, signer)
    generate_keys(tmp_path, None)
    other = load_signer(tmp_path, None)
    signatures = [json.loads(sign_payload(PAYLOAD, TYPE, key))["signatures"][0] for key in (signer, other)]
    wrong = {
        "not a DSSE envelope": [
            *(b"", b"{}", b"[]", b"null", b"\xff", envelope[:-5], changed(envelope, payload=7)),
            *(changed(envelope, signatures=value) for value in (7, [7], [{}], [signatures[0], signatures[0]])),
            changed(envelope, payloadType=["text/plain"]),
        ],
        "its payload type is 'text/html' instead of 'text/plain'": [changed(envelope, payloadType="text/html")],
        "it has 0 signatures instead of one": [changed(envelope, signatures=[])],
        "it has 2 signatures instead of one": [changed(envelope, signatures=signatures)],
        f"it is signed with key {other.public_key.keyid}, not with {signer.public_key.keyid}": [
            sign_payload(PAYLOAD, TYPE, other)
        ],
        "its signature does not verify": [
            changed(envelope, payload=b64encode(b"something else").decode()),
            changed(envelope, signatures=[{**signatures[1], "keyid": signer.public_key.keyid}]),
            changed(envelope, signatures=[{**signatures[0], "sig": ""}]),
        ],
        "the bytes around what is signed": [
            *(b" " + envelope, envelope[:-1], json.dumps(json.loads(envelope)).encode()),
            *(changed(envelope, extra=1), changed(envelope, signatures=[{**signatures[0], "extra": 1}])),
        ],
    }
    assert changed(envelope) == envelope
    for problem, envelopes in wrong.items():
        for bad in envelopes:
            with pytest.raises(InputError) as told:
                verify_payload(bad, TYPE, [signer.public_key])
            assert str(told.value).startswith(problem), bad


def test_the_key_of_earlier_years_still_verifies(signer, tmp_path):
    generate_keys(tmp_path, None)
    envelope, key = sign_payload(PAYLOAD, TYPE, signer), load_public_key(tmp_path / PUBLIC_KEY)
    assert verify_payload(envelope, TYPE, [key, signer.public_key]) == PAYLOAD
    with pytest.raises(InputError, match="is signed with key"):
        verify_payload(envelope, TYPE, [key])
    with pytest.raises(InputError, match="not with any that is here"):
        verify_payload(envelope, TYPE, [])
