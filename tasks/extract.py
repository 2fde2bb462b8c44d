"""Step: split the corpus into forget set and retain set for one batch, and hold unseen people ready."""

import random
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tasks.command import run_command
from tasks.options import Overrides, ParamsFile
from unilogit.data.extraction import extract_sets
from unilogit.data.records import COLUMNS, CorpusRecord, read_records
from unilogit.errors import InputError
from unilogit.files import write_json, write_parquet
from unilogit.params import DEFAULT_PARAMS, Params, load_params


@dataclass(frozen=True)
class ExtractSummary:
    """What was found, in counts and request ids.

    Attributes:
        requests: how many requests the batch has.
        forget, earlier, retain, holdout: records.
        no_match: ids of requests none of whose selectors is in the corpus.
        warnings: a sentence for every selector that matches nothing.
    """

    requests: int
    forget: int
    earlier: int
    retain: int
    holdout: int
    no_match: list[str]
    warnings: list[str]

    def __str__(self) -> str:
        return "\n".join(
            [
                *(f"warning: {warning}" for warning in self.warnings),
                f"{self.requests} requests: {self.forget} records to forget, {self.earlier} from earlier batches to"
                f" keep forgotten, {self.retain} to retain, {self.holdout} of unseen people",
            ]
        )


def run_extract(
    workspace: Path, params: Params, requests: Path | None = None, earlier: Path | None = None
) -> ExtractSummary:
    """Write data/forget.parquet, retain.parquet, holdout.parquet and extraction.json of a workspace.

    Args:
        workspace: holds validated/corpus.parquet.
        requests: the batch; validated/requests.parquet of the workspace when not given.
        earlier: the requests of earlier batches, which stay forgotten; none when not given.

    Raises:
        InputError: nothing would remain, or the holdout is unusable.
    """
    current = pd.read_parquet(requests or workspace / "validated" / "requests.parquet")
    before = pd.read_parquet(earlier) if earlier else current.iloc[:0]
    data = workspace / "data"
    found = extract_sets(
        workspace / "validated" / "corpus.parquet",
        current,
        before,
        data / "forget.parquet",
        data / "retain.parquet",
    )
    holdout = _holdout(params, workspace / "validated" / "corpus.parquet")
    write_parquet(data / "holdout.parquet", holdout)
    origins = {row.request_id: f"{row.file}:{row.row}" for row in current.itertuples()}
    warnings = [
        f"{origins[request_id]}: request {request_id}: nothing in {params.data.corpus} has "
        + (f"its {field}" if count == 1 else f"{count} of its {field}s")
        + "; check the spelling"
        for request_id, field, count in found.unmatched
    ]
    summary = ExtractSummary(
        requests=len(current),
        forget=found.forget,
        earlier=found.earlier,
        retain=found.retain,
        holdout=len(holdout),
        no_match=[request_id for request_id in current["request_id"] if request_id not in found.matched],
        warnings=warnings,
    )
    write_json(
        data / "extraction.json",
        {
            "schema_version": 1,
            **{name: getattr(summary, name) for name in ("requests", "forget", "earlier", "retain", "holdout")},
            "no_match": summary.no_match,
        },
    )
    return summary


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


def main(workspace: Path, params: ParamsFile = DEFAULT_PARAMS, set_: Overrides = None) -> ExtractSummary:
    """Split the corpus into what the requests ask to forget and what remains."""
    summary = run_extract(workspace, load_params(params, set_))
    if not summary.forget:
        raise InputError(*summary.warnings)
    return summary


if __name__ == "__main__":
    run_command(main)
