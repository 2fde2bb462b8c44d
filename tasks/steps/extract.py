"""Step: split the corpus into forget set and retain set for one batch, and hold unseen people ready."""

import random
from pathlib import Path

import pandas as pd

from tasks.params import Params
from tasks.step import Source, Step
from tasks.validation.expectations import PLACE, Table
from tasks.validation.judge import judge
from tasks.validation.tables import require_good
from tasks.workspace import Extraction, Place, Suppressions, Workspace, pseudonyms
from unilogit.data.corpus import read_records
from unilogit.data.extraction import FOLDED, RECORDS, Reference, extract_sets, subjects_in
from unilogit.data.extraction import Extraction as Sets
from unilogit.data.holding import Rules
from unilogit.data.pseudonyms import require_key
from unilogit.data.records import COLUMNS, CorpusRecord
from unilogit.data.rows import first_problems
from unilogit.data.selectors import Kind
from unilogit.data.suppression import Suppressed, SuppressionList
from unilogit.errors import InputError
from unilogit.files import atomic_path, read_json, write_parquet


def run_extract(workspace: Workspace, params: Params) -> Extraction:
    """Split the corpus into what the requests ask to forget and what remains.

    A batch that matches nothing has an empty forget set; what to do about it is the caller's to say.

    Raises:
        InputError: no request is good, nothing would remain, the holdout is unusable, or this home has another key
            than the suppression list.
    """
    from unilogit.data.neighbours import find_neighbours

    require_good(workspace)
    current, earlier = (_requests(workspace.path(place)) for place in (Place.REQUESTS, Place.EARLIER_REQUESTS))
    corpus, forget, retain = (workspace.path(place) for place in (Place.CORPUS, Place.FORGET, Place.RETAIN))
    approved: dict[str, list[str]] = read_json(workspace.path(Place.APPROVALS))
    snapshots = [Path(file) for file in read_json(workspace.path(Place.SNAPSHOTS))]
    suppression = _suppression(workspace)
    sets = extract_sets(
        corpus,
        current,
        earlier,
        forget,
        retain,
        workspace.path(Place.IN_REVIEW),
        rules=Rules(
            max_share_of_corpus=params.batch.max_share_of_corpus,
            min_text_length=params.batch.min_text_length,
            near_duplicates=params.extract.near_duplicates,
            near_duplicate_threshold=params.extract.near_duplicate_threshold,
        ),
        approvals={name: [text.partition(":")[0] for text in reasons] for name, reasons in approved.items()},
        snapshots=[file for file in snapshots if file.exists()],  # of others the texts were purged
        suppression=suppression,
    )
    _write_suppressed(workspace.path(Place.SUPPRESSED), sets.suppressed)
    neighbours = find_neighbours(
        forget, retain, workspace.path(Place.NEIGHBOURS), params.data.neighbours, seed=params.seed
    )
    holdout, unheld = _holdout(params, corpus, suppression)
    write_parquet(workspace.path(Place.HOLDOUT), holdout)
    references = _references(current, sets.references)
    judgement = judge(Table.REFERENCES, references, workspace.path(Place.REFERENCE_DOCS), params.data.corpus)
    extraction = Extraction(
        requests=len(current),
        forget=sets.forget,
        earlier=sets.earlier,
        retain=sets.retain,
        holdout=len(holdout),
        neighbours=neighbours,
        near_duplicates=sets.near_duplicates,
        in_review=sets.in_review,
        suppressed=len(sets.suppressed) + unheld,
        not_found=list(sets.unmatched),
        held={
            request: [f"{reason}: {sentence}" for reason, sentence in reasons] for request, reasons in sets.held.items()
        },
        warnings=[
            *judgement.warnings,
            *_warnings(sets),
            *_suppression_warnings(params, sets.suppressed, unheld, workspace.path(Place.SUPPRESSED)),
        ],
        matches={
            request: {kind: count for kind, count in counts.items() if kind in set(Kind)}
            for request, counts in sets.matched.items()
        },
    )
    workspace.write(extraction)
    return extraction


def _requests(file: Path) -> pd.DataFrame:
    """Requests, each with what it is called in messages for its id."""
    requests = pd.read_parquet(file)
    names = requests["reference"].where(requests["reference"].astype("bool"), requests["request_id"])
    return requests.assign(request_id=names)


def _suppression(workspace: Workspace) -> SuppressionList | None:
    """The suppression list that the batch was taken with; None where it is empty.

    Raises:
        InputError: it was made under another key than this home's.
    """
    suppressions = workspace.read(Suppressions)
    if not suppressions.digests:
        return None
    keyed = pseudonyms()
    require_key([suppressions.key_check], keyed.check)
    return SuppressionList(keyed, suppressions.digests)


def _write_suppressed(file: Path, suppressed: list[Suppressed]) -> None:
    """Where the records are that somebody has to remove: neither their ids nor what they say."""
    with atomic_path(file) as temporary:
        pd.DataFrame(suppressed, columns=Suppressed._fields).to_csv(temporary, index=False)


def _suppression_warnings(params: Params, suppressed: list[Suppressed], unheld: int, listing: Path) -> list[str]:
    warnings = []
    if suppressed:
        names = sorted({record.request for record in suppressed})
        places = [f"{record.file}:{record.row}" for record in suppressed]
        warnings.append(
            f"{params.data.corpus}: {len(suppressed)} records are of people whose requests are purged"
            f" ({', '.join(first_problems(names))}), and are left out of every set; remove them there:"
            f" {', '.join(first_problems(places, f', listed in {listing}'))}"
        )
    if unheld:
        warnings.append(
            f"{params.data.holdout}: {unheld} records are of people whose requests are purged, and are left out; remove"
            " them there"
        )
    return warnings


def _warnings(sets: Sets) -> list[str]:
    """What a person should know beside selectors that match nothing; without anybody's data."""
    warnings = [
        f"request {request} is held: {reason.sentence}" for request, reasons in sets.held.items() for reason in reasons
    ]
    warnings += [
        f"request {request}: {count} of its aliases are too short to be looked for in texts, and are compared"
        " with ids alone"
        for request, count in sets.short_aliases.items()
    ]
    for request, counts in sets.matched.items():
        told = f"request {request}: {{}} of {counts[RECORDS]} records"
        if FOLDED in counts:
            warnings.append(f"{told.format(counts[FOLDED])} match in another spelling than was given")
        if Kind.NEAR_DUPLICATE in counts:
            warnings.append(f"{told.format(counts[Kind.NEAR_DUPLICATE])} only read nearly like one that matches")
    return warnings


def _references(requests: pd.DataFrame, references: list[Reference]) -> pd.DataFrame:
    """References as Great Expectations is asked about them, in the order of the requests."""
    frame = requests[["request_id", "file", "row"]].merge(
        pd.DataFrame(references, columns=Reference._fields), on="request_id"
    )
    requested = ", request " + frame["request_id"] + ", field " + frame["field"]
    places = frame["file"] + ":" + frame["row"].astype("str") + requested
    return frame.assign(**{PLACE: places}).drop(columns="request_id")


def _holdout(params: Params, corpus: Path, suppression: SuppressionList | None) -> tuple[pd.DataFrame, int]:
    """Records of unseen people, and how many of the suppression list are left out.

    Half of the people steer the early stop, the other half only measure.
    """
    columns = [*COLUMNS, "use"]
    if params.data.holdout is None:
        return pd.DataFrame({name: pd.Series(dtype="object") for name in columns}), 0
    everybody = read_records(params.data.holdout, params.data.corpus_mapping)
    records = [record for record in everybody if suppression is None or suppression.reference(record) is None]
    if seen := subjects_in(corpus, {subject for record in records for subject in record.subject_ids}):
        raise InputError(
            f"{params.data.holdout}: {seen} of its people are in {params.data.corpus} too; the holdout must be people"
            " the model never saw"
        )
    people = sorted({_person(record) for record in records})
    random.Random(params.seed).shuffle(people)
    steering = set(people[: len(people) // 2])
    rows = [{**record.model_dump(), "use": "stop" if _person(record) in steering else "evaluate"} for record in records]
    return pd.DataFrame(rows, columns=columns), len(everybody) - len(records)


def _person(record: CorpusRecord) -> str:
    return record.subject_ids[0] if record.subject_ids else record.conversation_id or record.record_id


STEP = Step(
    name="extract",
    function=run_extract,
    reads=(
        *(Place.REQUESTS, Place.EARLIER_REQUESTS, Place.APPROVALS, Place.SNAPSHOTS, Place.SUPPRESSIONS, Place.CORPUS),
        Source.HOLDOUT,
    ),
    writes=(Place.DATA, Place.REFERENCE_DOCS),
    params=(
        *("seed", "data.corpus", "data.holdout", "data.corpus_mapping", "data.neighbours", "extract"),
        *("batch.max_share_of_corpus", "batch.min_text_length"),
    ),
)

if __name__ == "__main__":
    STEP.command()
