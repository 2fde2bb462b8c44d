"""Step: split the corpus into forget set and retain set for one batch, and hold unseen people ready."""

import random
from pathlib import Path

import pandas as pd

from tasks.params import Params
from tasks.step import Source, Step
from tasks.validation.expectations import PLACE, Table
from tasks.validation.judge import judge
from tasks.validation.tables import require_good
from tasks.workspace import Extraction, Place, Workspace
from unilogit.data.extraction import Reference, extract_sets
from unilogit.data.neighbours import find_neighbours
from unilogit.data.records import COLUMNS, CorpusRecord, read_records
from unilogit.errors import InputError
from unilogit.files import write_parquet


def run_extract(workspace: Workspace, params: Params) -> Extraction:
    """Split the corpus into what the requests ask to forget and what remains.

    A batch that matches nothing has an empty forget set; what to do about it is the caller's to say.

    Raises:
        InputError: no request is good, nothing would remain, or the holdout is unusable.
    """
    require_good(workspace)
    current, earlier = (pd.read_parquet(workspace.path(place)) for place in (Place.REQUESTS, Place.EARLIER_REQUESTS))
    corpus, forget, retain = (workspace.path(place) for place in (Place.CORPUS, Place.FORGET, Place.RETAIN))
    sets = extract_sets(corpus, current, earlier, forget, retain)
    wanted = params.data.neighbours if params.unlearn.neighbour_share else 0  # finding them reads the corpus twice
    neighbours = find_neighbours(forget, retain, workspace.path(Place.NEIGHBOURS), wanted)
    holdout = _holdout(params, corpus)
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
        no_match=[request_id for request_id in current["request_id"] if request_id not in sets.matched],
        warnings=judgement.warnings,
    )
    workspace.write(extraction)
    return extraction


def _references(requests: pd.DataFrame, references: list[Reference]) -> pd.DataFrame:
    """References as Great Expectations is asked about them, in the order of the requests."""
    frame = requests[["request_id", "file", "row"]].merge(
        pd.DataFrame(references, columns=Reference._fields), on="request_id"
    )
    return frame.assign(**{PLACE: frame["file"] + ":" + frame["row"].astype("str") + ", field " + frame["field"]})


def _holdout(params: Params, corpus: Path) -> pd.DataFrame:
    """Records of unseen people; half of the people steer the early stop, the other half only measure."""
    columns = [*COLUMNS, "use"]
    if params.data.holdout is None:
        return pd.DataFrame({name: pd.Series(dtype="object") for name in columns})
    records = read_records(params.data.holdout)
    trained = {
        subject for subjects in pd.read_parquet(corpus, columns=["subject_ids"])["subject_ids"] for subject in subjects
    }
    if seen := sorted({subject for record in records for subject in record.subject_ids} & trained):
        raise InputError(
            f"{params.data.holdout}: {len(seen)} of its people are in {params.data.corpus} too, e.g. {seen[0]};"
            " the holdout must be people the model never saw"
        )
    people = sorted({_person(record) for record in records})
    random.Random(params.seed).shuffle(people)
    steering = set(people[: len(people) // 2])
    rows = [{**record.model_dump(), "use": "stop" if _person(record) in steering else "evaluate"} for record in records]
    return pd.DataFrame(rows, columns=columns)


def _person(record: CorpusRecord) -> str:
    return record.subject_ids[0] if record.subject_ids else record.record_id


STEP = Step(
    name="extract",
    function=run_extract,
    reads=(Place.REQUESTS, Place.EARLIER_REQUESTS, Place.CORPUS, Source.HOLDOUT),
    writes=(Place.DATA, Place.REFERENCE_DOCS),
    params=("seed", "data.corpus", "data.holdout", "data.neighbours", "unlearn.neighbour_share"),
)

if __name__ == "__main__":
    STEP.command()
