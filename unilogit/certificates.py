"""A certificate: what was forgotten for whom, by which model, tested how, and what remains.

An in-toto Statement v1 about the model's weights, whose predicate is ours (docs/certificates.md), in a signed envelope.
It holds pseudonyms, digests and numbers, nobody's data. Knows nothing of where its facts come from.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from securesystemslib.signer import CryptoSigner, SSlibKey

from unilogit.errors import InputError
from unilogit.files import JsonObject
from unilogit.gates import Operator, holds
from unilogit.signing import open_envelope, sign_payload, verify_payload

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://unilogit.dev/attestations/forgetting/v1"
SCHEMA_VERSION: Final = 2
READABLE = (1, 2)  # 2 says of a test whom it is worst of

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Part(BaseModel):
    """Part of a certificate; its fields are written in lowerCamelCase, as in-toto has it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, alias_generator=to_camel, validate_by_name=True
    )


class Request(Part):
    """What was asked, and when.

    Attributes:
        reference: what the request is called.
        legal_basis, source: as the request says; None where it does not.
        fulfilled_at: when the model that forgot took the place of the one that knew.
    """

    reference: str
    legal_basis: str | None
    source: str | None
    received_at: AwareDatetime
    due_at: AwareDatetime
    fulfilled_at: AwareDatetime


class Person(Part):
    """Whom it is about.

    Attributes:
        pseudonym: a keyed digest of the subject id; None where the request names none.
        records: how many were forgotten for this request.
        measured_records: how many of them were tested.
        highest_probability: of the right answer to one of them, after; None where none was tested.
    """

    pseudonym: str | None
    records: int
    measured_records: int
    highest_probability: float | None


class Search(Part):
    """What was searched, and how much was found.

    Attributes:
        corpus_sha256, corpus_records: the validated corpus, and how many records it has.
        selectors: field of the request → how many values of it were looked for.
        near_duplicate_threshold: Jaccard similarity from which on a record counts as a copy of one that was found;
            None where copies were not looked for.
        matches: kind of match → records.
    """

    corpus_sha256: Sha256
    corpus_records: int
    selectors: dict[str, int]
    near_duplicate_threshold: float | None
    matches: dict[str, int]


class Model(Part):
    """The version that forgot, and where it comes from.

    Attributes:
        name, version: as the registry calls it.
        weights_sha256: the digest that the registry has of all weights.
        parent_versions: what it descends from, nearest first; empty for one made from the base model.
        parent_sha256: digest of the files of the model that it was made from.
        batch_id, method, training_steps: how it was made.
        params_md5, data_md5, git_commit: of the run, as the registry has them; empty where it has none.
    """

    name: str
    version: str
    weights_sha256: Sha256
    parent_versions: list[str]
    parent_sha256: str
    batch_id: str
    method: str
    training_steps: int
    params_md5: str
    data_md5: str
    git_commit: str


class PersonValue(Part):
    """A test's metric over the records of this request alone.

    Attributes:
        before, after: of the model before unlearning and of the version that forgot.
        retain_model: of a model that never saw what was forgotten.
        reason: why `after` is None, where it is.
    """

    before: float | None
    after: float | None
    retain_model: float | None
    reason: str | None


class Measurement(Part):
    """A test of the version: a gate that it passed, or an attack whose outcome no gate judges.

    Attributes:
        name, scope, metric: as in params.yaml; an attack without a gate is called as its metric.
        op, threshold: what the gate demands; None without a gate.
        value: over the whole batch.
        worst: pseudonym of the person of the batch (`forget_all`: of all) whom it is worst of; None where it is not of
            people.
        person: over this request's records.
    """

    name: str
    scope: str
    metric: str
    op: Operator | None
    threshold: float | None
    value: float
    worst: str | None = None
    person: PersonValue

    def demands(self) -> str:
        """What the gate demands; empty without one."""
        return "" if self.op is None or self.threshold is None else f"{self.op} {self.threshold:g}"

    def person_is_beyond(self) -> bool:
        """Whether the gate would not pass over this request's records alone."""
        if self.op is None or self.threshold is None or self.person.after is None:
            return False
        return not holds(self.person.after, self.op, self.threshold)


class Code(Part):
    """What tested: the package's version and the commit, "+changes" where files differed from it; empty if unknown."""

    package: str
    version: str
    git_commit: str


class Promotion(Part):
    """Who approved the version, and when.

    Attributes:
        approved_by: None where the registry does not say.
        aliases: that the version had when the certificate was made.
    """

    approved_by: str | None
    approved_at: AwareDatetime
    aliases: list[str]


class RemainingCopy(Part):
    """Where something of the person remains.

    Attributes:
        where: in words.
        holds: `texts`, or `weights` that know the person.
        deleted_by: when it is deleted at the latest; None where that is the operator's to decide.
    """

    where: str
    holds: Literal["texts", "weights"]
    deleted_by: AwareDatetime | None


class Forgetting(Part):
    """The predicate."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    request: Request
    person: Person
    search: Search
    model: Model
    tests: list[Measurement]
    code: Code
    residual_risk: list[str]
    promotion: Promotion
    remaining_copies: list[RemainingCopy]


class Weights(Part):
    """A file of the model, as an in-toto ResourceDescriptor."""

    name: str
    digest: dict[Literal["sha256"], Sha256]


class Certificate(Part):
    """The Statement."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT, alias="_type")
    subject: Annotated[list[Weights], Field(min_length=1)]
    predicate_type: Literal["https://unilogit.dev/attestations/forgetting/v1"] = PREDICATE
    predicate: Forgetting


def sign(certificate: Certificate, signer: CryptoSigner) -> bytes:
    """The certificate in its envelope; the same certificate and key make the same bytes."""
    statement = certificate.model_dump(mode="json", by_alias=True)
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sign_payload(payload.encode(), PAYLOAD_TYPE, signer)


def verify(envelope: bytes, public_keys: Iterable[SSlibKey]) -> Certificate:
    """The certificate that an envelope holds, if it was signed with one of these keys and not changed since.

    Raises:
        InputError: says what is wrong.
    """
    return _parse(verify_payload(envelope, PAYLOAD_TYPE, public_keys))


def read(envelope: bytes) -> Certificate:
    """The certificate that an envelope holds, whoever signed it; to be shown, not to be trusted.

    Raises:
        InputError: it holds none.
    """
    return _parse(bytes(open_envelope(envelope, PAYLOAD_TYPE).payload))


def _parse(payload: bytes) -> Certificate:
    try:
        statement = json.loads(payload)
    except ValueError:
        raise InputError("what it holds is not JSON") from None
    if problem := _stranger(statement):
        raise InputError(problem)
    try:
        return Certificate.model_validate_json(payload, by_name=False, by_alias=True)
    except ValidationError as error:
        places = sorted({".".join(map(str, problem["loc"])) for problem in error.errors()})
        raise InputError(f"it does not have the fields of a certificate; see {', '.join(places)}") from None


def _stranger(statement: JsonObject) -> str | None:
    """What else a statement is than a certificate that can be read here."""
    wanted = {"_type": STATEMENT, "predicateType": PREDICATE}
    for field, value in wanted.items():
        stated = statement.get(field) if isinstance(statement, dict) else None
        if stated != value:
            return f"its {field} is {stated!r} instead of {value!r}: it is no certificate of forgetting"
    predicate = statement.get("predicate")
    version = predicate.get("schemaVersion") if isinstance(predicate, dict) else None
    if version not in READABLE:
        return f"its schemaVersion is {version!r}, and {SCHEMA_VERSION} is what can be read here; update unilogit"
    return None
