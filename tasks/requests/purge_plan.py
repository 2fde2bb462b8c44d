"""Whose time is up, and what is theirs: the plan of a purge, which a killed purge is gone on from.

Knows the ledger's requests and the sets of the batches. Changes nothing but its own file, which holds what is to be
forgotten and is removed when that is done.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict

from tasks.requests.decoding import columns
from tasks.requests.erasure import Erasure
from tasks.requests.traces import Traces, patterns
from tasks.workspace import Place, Workspace, home
from unilogit.files import read_json, write_json
from unilogit.ledger import Ledger, LedgerRow, RequestState

_FOR_NOBODY = (RequestState.purged, RequestState.withdrawn, RequestState.not_found, RequestState.rejected)
"""States of a request for which no record is kept."""
_DUE = (RequestState.fulfilled, RequestState.withdrawn, RequestState.not_found, RequestState.rejected)
_TEXTS = ("prompt", "response", "paraphrased_prompt", "paraphrased_response", "alternative_response", "system")
_TEXT_LISTS = ("perturbed_responses", "history")


def plan_file() -> Path:
    """Where the plan lies while a purge is not done."""
    return home() / "purge.json"


class Plan(BaseModel):
    """What a purge is to do.

    Attributes:
        references: of the requests.
        request_ids: theirs.
        batches: in which the model unlearned them.
        records: ids of the records that nobody is left to be forgotten for.
        texts: what these say and what the requests name, as it was given.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    references: list[str] = []
    request_ids: list[str] = []
    batches: list[str] = []
    records: list[str] = []
    texts: list[str] = []

    def __add__(self, addition: Self) -> "Plan":
        names = ("references", "request_ids", "batches", "records", "texts")
        return Plan(**{name: sorted({*getattr(self, name), *getattr(addition, name)}) for name in names})

    @classmethod
    def begun(cls, ledger: Ledger) -> "Plan":
        """That of a purge that was killed, or an empty one; without requests that were reopened since."""
        if not plan_file().exists():
            return cls()
        plan = cls.model_validate(read_json(plan_file()))
        ended = [name for name in plan.references if ledger.find(name).state in (*_DUE, RequestState.purged)]
        return plan.model_copy(update={"references": ended})

    def write(self) -> None:
        write_json(plan_file(), self.model_dump())


def plan_purge(ledger: Ledger, runs: list[Workspace], keep_days: int, now: datetime) -> Plan:
    """What is to be forgotten of requests that ended `keep_days` ago.

    Args:
        runs: of every batch.
    """
    due = list(_due(ledger, now - timedelta(days=keep_days)))
    if not due:
        return Plan()
    asked = [ledger.get(row.reference) for row in due]
    fulfilled = {row.reference for row in due if row.state == RequestState.fulfilled}
    nobody = {row.reference for state in _FOR_NOBODY for row in ledger.requests(state)}
    sets = [pd.read_parquet(run.path(Place.FORGET)) for run in runs if run.has(Place.FORGET)]
    claims: dict[str, set[str]] = {}
    for forget in sets:
        for record, references in zip(forget["record_id"], forget["request_ids"], strict=True):
            claims.setdefault(record, set()).update(references)
    records = {name for name, names in claims.items() if names & fulfilled and not names - fulfilled - nobody}
    texts = {text for forget in sets for text in _said(forget[forget["record_id"].isin(records)])}
    texts.update(
        text for request in asked for text in (request.subject_id, *request.aliases, request.text) if text is not None
    )
    return Plan(
        references=[row.reference for row in due],
        request_ids=[request.request_id for request in asked],
        batches=sorted({row.batch_id for row in due if row.reference in fulfilled and row.batch_id}),
        records=sorted(records),
        texts=sorted(texts),
    )


def _due(ledger: Ledger, latest: datetime) -> Iterator[LedgerRow]:
    """Requests that ended by then."""
    for state in _DUE:
        for row in ledger.requests(state):
            if row.purged_at is None and ledger.history(row.reference)[-1].at <= latest:
                yield row


def _said(forget: pd.DataFrame) -> Iterator[str]:
    """All that records say of somebody, right or wrong."""
    cells = [cell for name in _TEXTS if name in forget for cell in forget[name]]
    lists = [cell for name in _TEXT_LISTS if name in forget for cell in forget[name] if cell is not None]
    yield from (text for text in [*cells, *(text for texts in lists for text in texts)] if isinstance(text, str))


def erasure(plan: Plan, runs: list[Workspace], intakes: Iterable[Workspace]) -> tuple[Erasure, int]:
    """What the plan is to erase, and how many strings of it are not looked for, as others say them as well.

    Others are the records of the latest corpus, of unseen people, and those and the requests that are still to be
    forgotten.
    """
    wanted = patterns(plan.texts)
    names = frozenset([*plan.references, *plan.request_ids])
    everything = Erasure(frozenset(plan.records), names, Traces(wanted))
    shared: set[str] = set()
    for table in _others(runs, intakes):
        for batch in everything.left_alone(table):
            for said, _ in columns(batch):
                shared.update(pattern for _, pattern in everything.traces.find(said))
    return Erasure(everything.records, names, Traces(wanted - shared)), len(shared)


def _others(runs: list[Workspace], intakes: Iterable[Workspace]) -> Iterator[Path]:
    """Tables in which others stand."""
    with_corpus = [run for run in runs if run.has(Place.CORPUS)]
    places = [run.path(place) for run in with_corpus[-1:] for place in (Place.CORPUS, Place.HOLDOUT)]
    places += [run.path(place) for run in runs for place in (Place.FORGET, Place.REQUESTS, Place.EARLIER_REQUESTS)]
    places += [intake.path(Place.REQUESTS) for intake in intakes]
    return (place for place in places if place.exists())
