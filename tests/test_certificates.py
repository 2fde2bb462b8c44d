"""Certificates verify with programs that are not ours, and say what their documentation says."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from pydantic import BaseModel, ValidationError
from securesystemslib.dsse import Envelope

from tests.certified import TESTS, certificate
from unilogit.certificates import PAYLOAD_TYPE, PREDICATE, Certificate, read, sign, verify
from unilogit.errors import InputError
from unilogit.signing import PUBLIC_KEY, generate_keys, load_signer, sign_payload

DOCUMENTATION = Path("docs/certificates.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    generate_keys(folder, None)
    return folder


@pytest.fixture(scope="module")
def signer(folder):
    return load_signer(folder, None)


def payload(envelope):
    return Envelope.from_dict(json.loads(envelope)).payload


def resigned(signer, **fields):
    """A certificate whose predicate has other fields than it should, well signed."""
    statement = json.loads(payload(sign(certificate(), signer)))
    predicate = {**statement["predicate"], **fields.pop("predicate", {})}
    return sign_payload(json.dumps({**statement, "predicate": predicate, **fields}).encode(), PAYLOAD_TYPE, signer)


def test_the_same_certificate_is_the_same_bytes_and_comes_back(folder, signer):
    envelope = sign(certificate(), signer)
    assert envelope == sign(certificate(), load_signer(folder, None))
    assert envelope != sign(certificate(version="5"), signer)
    assert verify(envelope, [signer.public_key]) == read(envelope) == certificate()


def test_a_stock_verifier_verifies_it_with_the_public_key_alone(folder, signer, tmp_path):
    """The documentation's own lines, in a process that has nothing of ours."""
    (snippet,) = re.findall(r"^```python\n(.*?)^```", DOCUMENTATION, flags=re.DOTALL | re.MULTILINE)
    ours = "\nassert not [name for name in sys.modules if name.split('.')[0] in ('unilogit', 'tasks', 'flows')]\n"
    (tmp_path / "verify.py").write_text(snippet + ours)
    (tmp_path / "key").write_bytes((folder / PUBLIC_KEY).read_bytes())
    envelope = sign(certificate(), signer)

    def run(content):
        (tmp_path / "certificate").write_bytes(content)
        command = [sys.executable, "-I", "verify.py", "certificate", "key"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run(envelope).stdout == "R-17 verifies\n"
    other = json.loads(sign(certificate("R-18"), signer)) | {"signatures": json.loads(envelope)["signatures"]}
    refused = run(json.dumps(other).encode())
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "VerificationError" in refused.stderr


def test_it_is_a_statement_of_in_toto(signer):
    text = payload(sign(certificate(), signer))
    parsed = Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement()))
    parsed.validate()
    assert parsed.pb.predicate_type == PREDICATE
    assert [(file.name, dict(file.digest)) for file in parsed.pb.subject] == [
        ("model.safetensors", {"sha256": "12" * 32})
    ]
    assert json_format.MessageToDict(parsed.pb)["predicate"] == json.loads(text)["predicate"]


@given(data=st.data())
def test_every_changed_byte_is_found(signer, data):
    envelope = sign(certificate(), signer)
    place = data.draw(st.integers(0, len(envelope) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != envelope[place]))
    with pytest.raises(InputError):
        verify(envelope[:place] + bytes([byte]) + envelope[place + 1 :], [signer.public_key])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "its _type is 'https://in-toto.io/Statement/v0.1' instead of"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "its predicateType is 'https://slsa.dev/provenance/v1'"),
        ({"predicate": {"schemaVersion": 3}}, "its schemaVersion is 3, and 2 is what can be read here"),
        ({"predicate": {"schemaVersion": None}}, "its schemaVersion is None"),
        ({"predicate": {"extra": 1}}, "see predicate.extra"),
        ({"predicate": {"tests": 7}}, "see predicate.tests"),
        ({"subject": []}, "see subject"),
    ],
)
def test_another_statement_is_none_though_the_signature_holds(signer, fields, problem):
    with pytest.raises(InputError, match=re.escape(problem)):
        verify(resigned(signer, **fields), [signer.public_key])
    assert verify(resigned(signer), [signer.public_key]) == certificate()


def test_one_of_the_first_version_is_read_as_ever(folder, signer):
    statement = json.loads(payload(sign(certificate(), signer)))
    statement["predicate"]["schemaVersion"] = 1
    for test in statement["predicate"]["tests"]:
        del test["worst"]
    earlier = verify(sign_payload(json.dumps(statement).encode(), PAYLOAD_TYPE, signer), [signer.public_key])
    assert [test.worst for test in earlier.predicate.tests] == [None] * len(TESTS)
    assert earlier.predicate.model == certificate().predicate.model


@pytest.mark.parametrize("content", [b"not JSON", b"[]", b"null", b"\xff"])
def test_another_content_is_none_though_the_signature_holds(signer, content):
    with pytest.raises(InputError, match=r"not JSON|its _type is None"):
        verify(sign_payload(content, PAYLOAD_TYPE, signer), [signer.public_key])


def test_another_type_of_payload_is_named(signer):
    envelope = sign_payload(payload(sign(certificate(), signer)), "text/plain", signer)
    with pytest.raises(InputError, match="payload type is 'text/plain' instead of 'application/"):
        verify(envelope, [signer.public_key])


def test_a_number_that_is_none_is_no_value():
    with pytest.raises(ValidationError):
        TESTS[0].model_validate({**TESTS[0].model_dump(), "value": float("nan")})


def test_whether_the_person_is_beyond_what_is_demanded():
    assert [test.person_is_beyond() for test in TESTS] == [True, False, False]
    assert [test.demands() for test in TESTS] == ["<= 0.05", ">= 0.9", ""]


def fields_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Path of every field that is not made of others, and of every list of such."""
    paths = set()
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        parts = [kind for kind in kinds if issubclass(kind, BaseModel)]
        if parts:
            paths |= fields_of(parts[0], f"{path}[]." if parts[0] is not field.annotation else f"{path}.")
        else:
            paths.add(path)
    return paths


def test_every_field_is_documented():
    statement, predicate = DOCUMENTATION.split("### The predicate")
    rows = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
    documented = {*rows.findall(statement), *(f"predicate.{name}" for name in rows.findall(predicate))}
    groups = {"subject", "predicate", "predicate.tests"}  # which say something of the whole, too
    assert documented - groups == fields_of(Certificate)
