"""Step: judge requests and corpus by Great Expectations; good rows go on, bad ones are set aside.

Bad requests never stop the run. A bad corpus line does, unless it is told otherwise: it may hold the
very person to be forgotten.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from tasks import intake
from tasks.command import run_command
from tasks.suites import (
    JudgedRequest,
    Outcome,
    corpus_checks,
    corpus_frame,
    place_of,
    places_of,
    reasons_by_place,
    request_checks,
    request_frame,
    run_suites,
)
from unilogit.data.records import CORPUS_SCHEMA, BadRecord, explain, frame_records, read_corpus
from unilogit.data.request_files import FIELDS
from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.data.rows import first_problems
from unilogit.errors import InputError
from unilogit.files import atomic_folder, atomic_path, write_json, write_text

CORPUS_QUARANTINE = Path("quarantine") / "corpus.jsonl"
_UTC = pa.timestamp("us", tz="UTC")
_REQUEST_SCHEMA = pa.schema(
    [field.with_type(_UTC) if field.name.endswith("_at") else field for field in intake.SCHEMA]
)


class ExpectationResult(BaseModel):
    """One expectation in numbers."""

    expectation: str
    columns: list[str]
    success: bool
    unexpected_count: int


class SuiteResult(BaseModel):
    """What became of the rows of the requests or of the corpus; `repeated` ones were exact repeats."""

    rows: int
    quarantined: int
    repeated: int = 0
    good: int
    expectations: list[ExpectationResult]

    def __str__(self) -> str:
        repeats = f", {self.repeated} exact repeats" if self.repeated else ""
        return f"{self.good} good of {self.rows} rows ({self.quarantined} set aside{repeats})"


class ValidationSummary(BaseModel):
    """validation.json: counts only, nobody's data."""

    schema_version: Literal[1] = 1
    requests: SuiteResult
    corpus: SuiteResult

    def __str__(self) -> str:
        return f"requests: {self.requests}; corpus: {self.corpus}"


def run_validate(
    workspace: Path, corpus: Path, bad_corpus_rows: Literal["stop", "quarantine"] = "stop"
) -> ValidationSummary:
    """Validate a workspace's requests.parquet, and the corpus, a .jsonl or .parquet file or a folder of them.

    Writes validated/, quarantine/, validation.json and data_docs/index.html of the workspace.

    Raises:
        InputError: no request is good, or the corpus cannot be read, has no good row, or has bad ones and
            `bad_corpus_rows` is "stop". Quarantine, Data Docs and validation.json tell why.
    """
    taken_in = workspace / "requests.parquet"
    if not taken_in.exists():
        raise InputError(f"{taken_in}: there is no such file; run `python -m tasks.intake` first")
    for name in ("requests", "corpus"):
        (workspace / "validated" / f"{name}.parquet").unlink(missing_ok=True)
    rows = pq.read_table(taken_in).to_pylist()
    unreadable = _unreadable(workspace / intake.QUARANTINE, rows)
    requests = _without_repeats([(row, _typed(row)) for row in rows])
    records, bad_records = read_corpus(corpus)
    asked = {
        "requests": (request_frame(requests), request_checks()),
        "corpus": (corpus_frame(records, bad_records), corpus_checks()),
    }

    with atomic_folder(workspace / "data_docs") as docs:
        # Intake's time, not now, so that the same inputs give the same pages.
        run_time = datetime.fromtimestamp(taken_in.stat().st_mtime, UTC)
        outcomes = run_suites(asked, docs, run_time)
    against_requests = reasons_by_place(asked["requests"][0], outcomes["requests"], "request_id", "refusal")
    against_records = reasons_by_place(asked["corpus"][0], outcomes["corpus"], "record_id", "problem")

    refused = unreadable + _refused(requests, against_requests)
    bad_records = bad_records + _bad_records(records, against_records)
    _write_quarantine(workspace / intake.QUARANTINE, [(item, item.model_dump()) for item in refused])
    _write_quarantine(workspace / CORPUS_QUARANTINE, [(item, asdict(item)) for item in bad_records])
    good_requests = [(row, request) for row, request in requests if place_of(row) not in against_requests]
    good_records = records[~places_of(records).isin(against_records)]
    summary = ValidationSummary(
        requests=SuiteResult(
            rows=len(rows) + len(unreadable),
            repeated=len(rows) - len(requests),
            quarantined=len(refused),
            good=len(good_requests),
            expectations=_results(outcomes["requests"]),
        ),
        corpus=SuiteResult(
            rows=len(asked["corpus"][0]),
            quarantined=len(bad_records),
            good=len(good_records),
            expectations=_results(outcomes["corpus"]),
        ),
    )
    write_json(workspace / "validation.json", summary.model_dump())
    problems = _problems(workspace, summary, refused, bad_records, bad_corpus_rows == "stop")
    if problems:
        raise InputError(*problems)

    _write_table(workspace / "validated" / "requests.parquet", _request_table(good_requests))
    _write_table(
        workspace / "validated" / "corpus.parquet",
        pa.Table.from_pandas(good_records, schema=CORPUS_SCHEMA, preserve_index=False),
    )
    return summary


def _unreadable(quarantine: Path, rows: list[dict[str, Any]]) -> list[Rejection]:
    """What intake set aside; what an earlier validation added to it is left out."""
    read = {(row["file"], row["row"]) for row in rows}
    lines = quarantine.read_bytes().splitlines() if quarantine.exists() else []
    rejections = [Rejection.model_validate_json(line) for line in lines]
    return [item for item in rejections if (item.file, item.row) not in read]


def _typed(row: dict[str, Any]) -> DeletionRequest | str:
    """The request of a row, or why it is none."""
    try:
        return DeletionRequest(
            **{name: row[name] for name in FIELDS if row[name]}, file=row["file"], row=row["row"]
        )
    except ValidationError as error:
        return "\n".join(explain(error))
    except OverflowError:
        return "a time lies too far away; correct its year"


def _without_repeats(requests: list[JudgedRequest]) -> list[JudgedRequest]:
    first: dict[str, JudgedRequest] = {}
    for row, request in requests:
        content = place_of(row) if isinstance(request, str) else request.model_dump_json(include=set(FIELDS))
        first.setdefault(content, (row, request))
    return list(first.values())


def _refused(requests: list[JudgedRequest], reasons: dict[str, list[str]]) -> list[Rejection]:
    return [
        Rejection(
            file=row["file"],
            row=row["row"],
            reasons=reasons[place_of(row)],
            raw=json.dumps({name: row[name] for name in FIELDS if row[name]}, ensure_ascii=False),
        )
        for row, _ in requests
        if place_of(row) in reasons
    ]


def _bad_records(records: pd.DataFrame, reasons: dict[str, list[str]]) -> list[BadRecord]:
    bad = records[places_of(records).isin(reasons)]
    return [
        BadRecord(file, row, reasons[f"{file}:{row}"], record.model_dump_json(exclude_none=True))
        for file, row, record in zip(bad["file"], bad["row"].tolist(), frame_records(bad), strict=True)
    ]


def _write_quarantine(path: Path, items: list[tuple[Rejection | BadRecord, dict[str, Any]]]) -> None:
    items = sorted(items, key=lambda item: (item[0].file, item[0].row))
    write_text(path, "".join(json.dumps(fields, ensure_ascii=False) + "\n" for _, fields in items))


def _results(outcomes: list[Outcome]) -> list[ExpectationResult]:
    return [
        ExpectationResult(
            expectation=outcome.check.expectation.expectation_type,
            columns=outcome.check.columns,
            success=not outcome.places,
            unexpected_count=len(outcome.places),
        )
        for outcome in outcomes
    ]


def _problems(
    workspace: Path,
    summary: ValidationSummary,
    refused: list[Rejection],
    bad: list[BadRecord],
    stop_at_bad: bool,
) -> list[str]:
    """Why the run cannot go on; nothing where it can."""
    problems = []
    if not summary.requests.good:
        aside = f"; see {workspace / intake.QUARANTINE}"
        reasons = [f"{item.file}:{item.row}: {'; '.join(item.reasons)}" for item in refused]
        problems += ["no deletion request can be used; correct them and take them in again"]
        problems += first_problems(reasons, aside)
    if (bad and stop_at_bad) or not summary.corpus.good:
        aside = f"; see {workspace / CORPUS_QUARANTINE}"
        problems += first_problems([str(item) for item in bad], aside)
        if not summary.corpus.good:
            problems += ["the corpus has no line that can be used; correct it"]
        else:
            problems += [
                "the corpus is not used, as a bad line may hold somebody who is to be forgotten; correct it,"
                " or leave its bad lines out with `--bad-corpus-rows quarantine`"
            ]
    return problems


def _request_table(requests: list[JudgedRequest]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                **request.model_dump(include=set(FIELDS)),
                **{name: row[name] for name in ("file", "file_sha256", "row")},
            }
            for row, request in requests
            if isinstance(request, DeletionRequest)
        ],
        schema=_REQUEST_SCHEMA,
    )


def _write_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


if __name__ == "__main__":
    run_command(run_validate)
