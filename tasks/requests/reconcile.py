"""What people promoted becomes true in the ledger: requests are fulfilled, each with its certificate.

Everything can be repeated after a kill: a certificate is written first and never again, then the ledger is told. Knows
the registry only by what is told of the champion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tasks.params import Params
from tasks.registry.lineage import Ancestor, Champion
from tasks.requests.batches import one_reconciliation_at_a_time, open_ledger
from tasks.requests.certificates import open_signer, sweep_certificates, write_certificate
from tasks.requests.evidence import Evidence, Promotion
from tasks.requests.promotion import PATIENCE
from tasks.workspace import Place, Workspace, pseudonyms, run_folder
from unilogit.errors import InputError
from unilogit.files import read_json, sha256_file
from unilogit.ledger import Ledger, RequestState


@dataclass(frozen=True)
class Settled:
    """What became of the champion's requests.

    Attributes:
        fulfilled: version → how many requests became fulfilled now.
    """

    name: str
    version: str
    fulfilled: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        champion = f"{self.name} version {self.version} is champion"
        told = [f"{count} requests fulfilled by version {version}" for version, count in self.fulfilled.items()]
        return f"{champion}; " + ("; ".join(told) or "all of its requests were fulfilled before")


def settle(champion: Champion, params: Params, run: str) -> Settled:
    """Fulfil what awaits promotion and the champion, or a version that it descends from, has unlearned.

    Args:
        run: who does so, for the audit table.

    Raises:
        InputError: there is no key to sign with, or the workspace of a batch cannot prove what is to be certified.
    """
    fulfilled: dict[str, int] = {}
    with one_reconciliation_at_a_time(PATIENCE), open_ledger() as ledger:
        sweep_certificates()
        for place, ancestor in reversed(list(enumerate(champion.lineage))):
            if not ancestor.batch_id:
                continue
            rows = ledger.requests(RequestState.awaiting_promotion, batches=[ancestor.batch_id])
            if names := [row.reference for row in rows]:
                certificates = _certify(ledger, names, champion, place, params)
                ledger.fulfil(certificates, run, champion.approved_by)
                fulfilled[ancestor.version] = len(names)
    return Settled(champion.name, champion.version, fulfilled)


def _certify(ledger: Ledger, names: list[str], champion: Champion, place: int, params: Params) -> dict[str, str]:
    """Write a certificate for each request of an ancestor's batch; reference → its digest."""
    signer = open_signer()
    ancestor = champion.lineage[place]
    workspace = Workspace(run_folder(ancestor.batch_id))
    evidence = Evidence(
        workspace,
        Promotion(
            version=ancestor.version,
            aliases=champion.aliases.get(ancestor.version, ()),
            approved_by=champion.approved_by,
            approved_at=champion.approved_at,
            parent_versions=tuple(parent.version for parent in champion.lineage[place + 1 :]),
            older_versions={version: champion.aliases.get(version, ()) for version in _older(champion, ancestor)},
        ),
        _params(workspace, params),
    )
    key, fulfilled_at = pseudonyms(), datetime.now(UTC)
    digests = {}
    for name in names:
        file = write_certificate(evidence.certificate(ledger.get(name), key, fulfilled_at), signer)
        digests[name] = sha256_file(file)
    return digests


def _older(champion: Champion, ancestor: Ancestor) -> list[str]:
    """Versions that were registered before a version, of the lineage or not: they know its people."""
    return [version for version in champion.versions if int(version) < int(ancestor.version)]


def _params(workspace: Workspace, params: Params) -> Params:
    """What the batch ran with; how long texts are kept is what holds today."""
    file = workspace.path(Place.VERSION_PARAMS)
    try:
        ran_with = Params.model_validate(read_json(file))
    except (FileNotFoundError, ValueError):
        raise InputError(f"{file}: no longer says what the batch ran with; put it back from a backup") from None
    return ran_with.model_copy(update={"requests": params.requests})
