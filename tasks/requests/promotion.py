"""What a promotion does to requests: batches that it undoes wait again, and their certificates are in force no longer.

A promotion is begun in the registry; then the ledger is told, then the registry completes it. Each write can be
repeated: what a kill left undone, the next call of any function here completes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tasks.registry.lineage import Promotion
from tasks.registry.promotion import REMOVED, Refusal, RegistryWriter, registry_writer
from tasks.registry.versions import CHAMPION
from tasks.requests.batches import one_reconciliation_at_a_time, open_ledger
from tasks.requests.certificates import supersede_certificate
from unilogit.errors import InputError
from unilogit.ledger import Ledger, RequestState

IN_REGISTRY = "whoever set the alias in MLflow"
PATIENCE = 60  # seconds that one promotion or reconciliation waits for another


def promote(name: str, version: str, person: str, give_up: Sequence[str] = ()) -> str:
    """Make a version champion; what follows from that, in sentences.

    Args:
        person: who does so, for the version's tags and the certificates.
        give_up: the batches that it undoes.

    Raises:
        InputError: there is no such version, or it may not be champion: every reason.
    """
    with _promotions(name, f"person: {person}") as (writer, ledger):
        if version not in writer.registry.versions:
            raise InputError(f"{name} has no version {version}; `unilogit models list` shows what there is")
        told = _decide(writer, ledger, version, person, give_up)
    return "\n".join(
        [
            *told,
            f"{name} version {version} is champion; the next run starts from it."
            " Next: `unilogit reconcile` closes its requests and writes their certificates",
        ]
    )


def rollback(name: str, person: str, give_up: Sequence[str] = ()) -> str:
    """Make champion what the present one was made from; what follows from that, in sentences.

    Args:
        give_up: the batches that this undoes, which must be named.

    Raises:
        InputError: there is no champion, or the batches are not the ones that this undoes.
    """
    with _promotions(name, f"person: {person}") as (writer, ledger):
        registry = writer.registry
        if registry.accepted_version is None:
            raise InputError(f"{name}: no version is {CHAMPION}, so there is none to go back from")
        version = registry.predecessor()
        if version is None and registry.lineage(registry.accepted_version)[1:]:
            raise InputError(
                f"{name}: what version {registry.accepted_version} was made from was deleted in MLflow;"
                " `unilogit models promote` makes another version champion"
            )
        told = _decide(writer, ledger, version, person, give_up)
    back = f"version {version} is champion again" if version else "no version is champion; the base model is used again"
    return "\n".join([*told, f"{name}: {back}; the next run starts from it"])


def examine_champion(name: str, run: str) -> tuple[Refusal | None, list[str]]:
    """Accept the champion that people chose in the registry, or say why it may not be one; the caller puts it back.

    Args:
        run: who does so, for the audit table.

    Returns:
        What was refused, and sentences about what was done.

    Raises:
        InputError: no version is champion, and the one that was may not be any more.
    """
    with _promotions(name, run) as (writer, ledger):
        chosen, told = writer.registry.aliases.get(CHAMPION), []
        if refusal := _refusal(writer, chosen):
            writer.mark_refused(refusal)
            return refusal, []
        if chosen != writer.registry.accepted_version:
            promotion = _chosen(chosen)
            writer.begin(promotion)
            writer.carry_out(promotion)
            told.append(f"{name} version {chosen} was accepted as {CHAMPION}")
        writer.keep_predecessor()
        for batch in sorted(writer.registry.stranded()):
            if next(ledger.requests(RequestState.awaiting_promotion, 1, [batch]), None):
                told.append(_give_up(ledger, batch, run, f"its version does not descend from version {chosen}"))
        return None, told


def put_back(refusal: Refusal) -> None:
    """Give the alias champion to the version accepted last, unless another was chosen or accepted meanwhile."""
    with one_reconciliation_at_a_time(PATIENCE), registry_writer(refusal.name) as writer:
        writer.put_back(refusal)


@contextmanager
def _promotions(name: str, run: str) -> Iterator[tuple[RegistryWriter, Ledger]]:
    """Registry and ledger for the only one who changes champions, once a promotion that was begun is completed."""
    with one_reconciliation_at_a_time(PATIENCE), registry_writer(name) as writer, open_ledger() as ledger:
        if promotion := writer.registry.promotion:
            if promotion.version in (None, *writer.registry.versions):
                _complete(writer, ledger, promotion, run)
            else:  # the version was deleted since
                writer.abandon()
        yield writer, ledger


def _decide(
    writer: RegistryWriter, ledger: Ledger, version: str | None, person: str, give_up: Sequence[str]
) -> list[str]:
    """Do as a person says, once; sentences about what was given up."""
    registry = writer.registry
    promotion = Promotion.decided_now(version, person, give_up)
    if registry.accepted and registry.accepted.version == version:  # typed again after a kill
        promotion = registry.accepted.model_copy(update={"give_up": ()})
    title = f"{registry.name} version {version}" if version else f"{registry.name} without a {CHAMPION}"
    if reasons := writer.why_not(promotion):
        raise InputError(f"{title} may not be promoted: {'; '.join(reasons)}")
    for batch in promotion.give_up:
        if purged := sum(1 for _ in ledger.requests(RequestState.purged, batches=[batch])):
            raise InputError(
                f"{title} may not be promoted: {purged} requests of batch {batch} are purged, so that nobody could"
                " unlearn them again; promote a version that has unlearned them"
            )
    writer.begin(promotion)
    return _complete(writer, ledger, promotion, f"person: {person}")


def _complete(writer: RegistryWriter, ledger: Ledger, promotion: Promotion, run: str) -> list[str]:
    target = f"version {promotion.version}" if promotion.version else "the base model"
    why = f"{promotion.approved_by} went to {target} instead"
    told = [_give_up(ledger, batch, run, why) for batch in promotion.give_up]
    writer.carry_out(promotion)
    return told


def _give_up(ledger: Ledger, batch: str, run: str, why: str) -> str:
    """Let the requests of a batch wait again; their certificates first, since only the ledger knows which they are."""
    if batch not in {summary.batch_id for summary in ledger.batches()}:
        return f"batch {batch} is not in the ledger of this home: no request of it waits again"
    names = [row.reference for row in ledger.requests(RequestState.fulfilled, batches=[batch])]
    waiting = sum(1 for _ in ledger.requests(RequestState.awaiting_promotion, batches=[batch]))
    for name in names:
        supersede_certificate(name)
    ledger.give_up(batch, run, why)
    return f"batch {batch} is given up, as {why}: {len(names) + waiting} requests wait again"


def _refusal(writer: RegistryWriter, chosen: str | None) -> Refusal | None:
    registry, accepted = writer.registry, writer.registry.accepted_version
    if chosen is None and accepted is None:
        return None
    reasons = [REMOVED] if chosen is None else writer.why_not(_chosen(chosen))
    if not reasons:
        return None
    may_return = accepted is not None and accepted != chosen
    flaws = writer.why_not(_chosen(accepted)) if may_return else []
    if chosen is None and flaws:
        raise InputError(
            f"{registry.name}: no version is {CHAMPION}, and version {accepted}, which was accepted last, may not be"
            f" any more: {'; '.join(flaws)}; restore it, promote another version, or go back with"
            f" `unilogit models rollback {registry.name}`"
        )
    return Refusal(registry.name, chosen, reasons, accepted if may_return and not flaws else None)


def _chosen(version: str | None) -> Promotion:
    """What somebody decided by moving the alias."""
    return Promotion.decided_now(version, IN_REGISTRY)
