"""What a batch's workspace can prove, and the certificate of each of its requests that is made of it.

Knows files and numbers; neither the ledger nor MLflow: who approved which version is told by the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from tasks.params import Params
from tasks.registry.versions import BASE
from tasks.report.review import numbers
from tasks.requests.person_metrics import PersonMetrics, RecordMeasurements
from tasks.requests.residual_risk import residual_risk
from tasks.sets import PARENT, RETAIN_MODEL, UNLEARNED
from tasks.workspace import (
    CorpusCounts,
    Extraction,
    Metrics,
    ParentModel,
    Place,
    Registration,
    Training,
    Workspace,
)
from unilogit import certificates
from unilogit.certificates import Certificate, Forgetting, Measurement, PersonValue, RemainingCopy, Weights
from unilogit.data.pseudonyms import Pseudonyms, looks_personal
from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError
from unilogit.files import join_digests, read_json, sha256_file, weight_digests
from unilogit.gates import GateReport

WITHHELD = "withheld: it has words in common with what identifies the person"
_ATTACKS = {"robustness": "robustness", "membership_inference": "forget"}  # section of metrics.json → scope


@dataclass(frozen=True)
class Promotion:
    """What the registry says of the version that took over.

    Attributes:
        version: of the registered model.
        aliases: that it has now.
        approved_by: who gave it the alias champion; None where nobody is named.
        approved_at: when.
        parent_versions: what it descends from, nearest first.
        older_versions: each version that still knows the batch's people and is still there → its aliases.
    """

    version: str
    aliases: tuple[str, ...]
    approved_by: str | None
    approved_at: datetime
    parent_versions: tuple[str, ...]
    older_versions: Mapping[str, tuple[str, ...]]


class Evidence:
    """All that the certificates of one batch have in common; read once, for it hashes weights and corpus.

    Args:
        workspace: of the batch; its version is registered.
        promotion: of that version.
        params: that the batch ran with; of `requests.keep_days`, what holds today.

    Raises:
        InputError: a step has not been run, a gate failed, the version promoted is not the one of this workspace, or
            its weights are not those that were registered.
    """

    def __init__(self, workspace: Workspace, promotion: Promotion, params: Params) -> None:
        self._workspace, self._promotion, self._params = workspace, promotion, params
        self._registration = _promoted(workspace, promotion)
        self._gates = GateReport.model_validate(read_json(workspace.path(Place.GATES)))
        if not self._gates.passed:
            raise InputError(f"{workspace.path(Place.GATES)}: a gate failed; nothing may be certified of this version")
        self._weights = weight_digests(workspace.path(Place.MODEL))
        if join_digests(self._weights) != self._registration.tags["weights_sha256"]:
            raise InputError(
                f"{workspace.path(Place.MODEL)}: its weights are not those of {self._registration.registered_model}"
                f" version {promotion.version}; put back what was registered"
            )
        self._corpus_sha256 = sha256_file(workspace.path(Place.CORPUS))
        self._corpus_records = workspace.read(CorpusCounts).good
        self._extraction = workspace.read(Extraction)
        self._measurements = RecordMeasurements(workspace)
        forget = pd.read_parquet(workspace.path(Place.FORGET), columns=["record_id", "request_ids", "batch"])
        pairs = forget[forget["batch"] == "current"].explode("request_ids")
        self._records = {str(name): list(records) for name, records in pairs.groupby("request_ids")["record_id"]}

    def certificate(self, request: DeletionRequest, pseudonyms: Pseudonyms, fulfilled_at: datetime) -> Certificate:
        """The certificate of one of the batch's requests.

        Raises:
            InputError: nothing was forgotten for it.
        """
        reference = request.reference or request.request_id
        records = self._records.get(reference)
        if not records:
            raise InputError(f"request {reference}: batch {self._batch_id} forgot nothing for it; nothing to certify")
        measured = self._measurements.of_records(records)
        person = certificates.Person(
            pseudonym=pseudonyms.subject(request.subject_id) if request.subject_id else None,
            records=len(records),
            measured_records=measured.records,
            highest_probability=measured.highest_probability,
        )
        search, tests, tags = self._search(reference, request), self._tests(measured), self._registration.tags
        return Certificate(
            subject=[Weights(name=name, digest={"sha256": digest}) for name, digest in self._weights.items()],
            predicate=Forgetting(
                request=_asked(reference, request, fulfilled_at),
                person=person,
                search=search,
                model=self._model(),
                tests=tests,
                code=certificates.Code(
                    package="unilogit", version=tags.get("unilogit_version", ""), git_commit=tags["git_commit"]
                ),
                residual_risk=residual_risk(person, search, tests),
                promotion=certificates.Promotion(
                    approved_by=self._promotion.approved_by,
                    approved_at=_utc(self._promotion.approved_at),
                    aliases=sorted(self._promotion.aliases),
                ),
                remaining_copies=self._copies(fulfilled_at),
            ),
        )

    @property
    def _batch_id(self) -> str:
        return self._workspace.root.resolve().name

    def _search(self, reference: str, request: DeletionRequest) -> certificates.Search:
        looked_for = self._params.extract.near_duplicates != "off"
        return certificates.Search(
            corpus_sha256=self._corpus_sha256,
            corpus_records=self._corpus_records,
            selectors={
                "subject_id": int(request.subject_id is not None),
                "aliases": len(request.aliases),
                "record_ids": len(request.record_ids),
                "text": int(request.text is not None),
            },
            near_duplicate_threshold=self._params.extract.near_duplicate_threshold if looked_for else None,
            matches=self._extraction.matches.get(reference, {}),
        )

    def _model(self) -> certificates.Model:
        parent, training = self._workspace.read(ParentModel), self._workspace.read(Training)
        tags = self._registration.tags
        return certificates.Model(
            name=self._registration.registered_model,
            version=self._registration.version,
            weights_sha256=tags["weights_sha256"],
            parent_versions=list(self._promotion.parent_versions),
            parent_sha256=parent.files_sha256,
            batch_id=self._batch_id,
            method=training.method,
            training_steps=training.steps,
            params_md5=tags["params_md5"],
            data_md5=tags["data_md5"],
            git_commit=tags["git_commit"],
        )

    def _tests(self, measured: PersonMetrics) -> list[Measurement]:
        """Every gate, then every attack of which no gate demands anything."""
        gates = [
            Measurement(
                **gate.model_dump(include={"name", "scope", "metric", "op", "threshold", "value", "worst"}),
                person=_of_person(measured, gate.metric),
            )
            for gate in self._gates.gates
        ]
        judged, metrics = {gate.metric for gate in self._gates.gates}, self._workspace.read(Metrics)
        attacks = [
            Measurement(
                name=path,
                scope=_ATTACKS[path.split(".")[0]],
                metric=path,
                op=None,
                threshold=None,
                value=value,
                person=_of_person(measured, path),
            )
            for path, value in numbers(metrics.after).items()
            if path.split(".")[0] in _ATTACKS and path not in judged and value is not None
        ]
        return [*gates, *attacks]

    def _copies(self, fulfilled_at: datetime) -> list[RemainingCopy]:
        last_day = _utc(fulfilled_at) + timedelta(days=self._params.requests.keep_days)
        texts = ["the ledger and the request files that were taken in", f"the workspace of batch {self._batch_id}"]
        if self._registration.tags["data_md5"]:
            texts.append("the DVC cache and its remote")
        name = self._registration.registered_model
        bases = ["the model that this version is an adapter on, without it"] if BASE in self._registration.tags else []
        return [
            *(RemainingCopy(where=place, holds="texts", deleted_by=last_day) for place in texts),
            *(
                RemainingCopy(
                    where=f"{name} version {version}" + (f" ({', '.join(sorted(aliases))})" if aliases else ""),
                    holds="weights",
                    deleted_by=None,
                )
                for version, aliases in self._promotion.older_versions.items()
            ),
            *(RemainingCopy(where=place, holds="weights", deleted_by=None) for place in bases),
            RemainingCopy(where="the corpus that was searched, at its owner's", holds="texts", deleted_by=None),
            RemainingCopy(where="backups of any of these, which the operator keeps", holds="texts", deleted_by=None),
            RemainingCopy(where="copies of older versions outside the registry", holds="weights", deleted_by=None),
        ]


def _promoted(workspace: Workspace, promotion: Promotion) -> Registration:
    registration = workspace.read(Registration)
    if registration.version != promotion.version:
        raise InputError(
            f"{workspace.path(Place.REGISTRATION)}: this workspace became version {registration.version} of"
            f" {registration.registered_model}, not version {promotion.version}, which was promoted"
        )
    return registration


def _asked(reference: str, request: DeletionRequest, fulfilled_at: datetime) -> certificates.Request:
    return certificates.Request(
        reference=reference,
        legal_basis=_harmless(request.legal_basis, request),
        source=_harmless(request.source, request),
        received_at=_utc(request.received_at),
        due_at=_utc(request.due_at),
        fulfilled_at=_utc(fulfilled_at),
    )


def _harmless(text: str | None, request: DeletionRequest) -> str | None:
    """A text of the request, unless it may name somebody."""
    return WITHHELD if text and looks_personal(text, [request]) else text


def _of_person(measured: PersonMetrics, metric: str) -> PersonValue:
    return PersonValue(
        before=measured.value(PARENT, metric),
        after=measured.value(UNLEARNED, metric),
        retain_model=measured.value(RETAIN_MODEL, metric),
        reason=measured.reason(metric),
    )


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)
