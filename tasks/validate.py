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
    Check,
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

REQUESTS_QUARANTINE = Path("quarantine") / "requests.jsonl"
CORPUS_QUARANTINE = Path("quarantine") / "corpus.jsonl"
_UTC = pa.timestamp("us", tz="UTC")
_REQUEST_SCHEMA = pa.schema([field.with_type(_UTC) if field.name.endswith("_at") else field for field in intake.SCHEMA])


class ExpectationResult(BaseModel):
    """One expectation in numbers."""

    expectation: str
    columns: list[str]
    success: bool
    unexpected_count: int


class SuiteResult(BaseModel):
    """What became of the rows of the requests or of the corpus; `repeated` ones were exact repeats.

    What validated/requests.json and validated/corpus.json hold: counts only, nobody's data.
    """

    schema_version: Literal[1] = 1
    rows: int
    quarantined: int
    repeated: int = 0
    good: int
    expectations: list[ExpectationResult]

    def __str__(self) -> str:
        repeats = f", {self.repeated} exact repeats" if self.repeated else ""
        return f"{self.good} good of {self.rows} rows ({self.quarantined} set aside{repeats})"


def judge_requests(workspace: Path) -> tuple[SuiteResult, list[Rejection]]:
    """Validate a workspace's requests.parquet; bad rows, however many, are set aside.

    Writes validated/requests.parquet and .json, quarantine/requests.jsonl and data_docs/requests.

    Returns:
        The counts, and every row set aside.

    Raises:
        InputError: intake has not been run.
    """
    taken_in = workspace / "requests.parquet"
    if not taken_in.exists():
        raise InputError(f"{taken_in}: there is no such file; run `python -m tasks.intake` first")
    rows = pq.read_table(taken_in).to_pylist()
    unreadable = _unreadable(workspace)
    requests = _without_repeats([(row, _typed(row)) for row in rows])
    frame, outcomes = request_frame(requests), []
    if rows:
        outcomes = _ask(workspace, "requests", frame, request_checks(), taken_in)
    reasons = reasons_by_place(frame, outcomes, "request_id", "refusal") if rows else {}
    refused = unreadable + _refused(requests, reasons)
    _write_quarantine(workspace / REQUESTS_QUARANTINE, [(item, item.model_dump()) for item in refused])
    good = [(row, request) for row, request in requests if place_of(row) not in reasons]
    result = SuiteResult(
        rows=len(rows) + len(unreadable),
        repeated=len(rows) - len(requests),
        quarantined=len(refused),
        good=len(good),
        expectations=_results(outcomes),
    )
    write_json(workspace / "validated" / "requests.json", result.model_dump())
    _write_table(workspace / "validated" / "requests.parquet", _request_table(good))
    return result, refused


def validate_corpus(
    workspace: Path, corpus: Path, bad_corpus_rows: Literal["stop", "quarantine"] = "stop"
) -> SuiteResult:
    """Validate a corpus: a .jsonl or .parquet file, or a folder of them.

    Writes validated/corpus.parquet and .json, quarantine/corpus.jsonl and data_docs/corpus of the workspace.

    Raises:
        InputError: it cannot be read, has no good row, or has bad ones and `bad_corpus_rows` is "stop".
            Quarantine and Data Docs tell why, and validated/corpus.parquet is not there.
    """
    validated = workspace / "validated" / "corpus.parquet"
    validated.unlink(missing_ok=True)
    records, bad = read_corpus(corpus)
    frame = corpus_frame(records, bad)
    outcomes = _ask(workspace, "corpus", frame, corpus_checks(), corpus)
    reasons = reasons_by_place(frame, outcomes, "record_id", "problem")
    bad = bad + _bad_records(records, reasons)
    _write_quarantine(workspace / CORPUS_QUARANTINE, [(item, asdict(item)) for item in bad])
    good = records[~places_of(records).isin(reasons)]
    result = SuiteResult(rows=len(frame), quarantined=len(bad), good=len(good), expectations=_results(outcomes))
    write_json(workspace / "validated" / "corpus.json", result.model_dump())
    if bad and (bad_corpus_rows == "stop" or not result.good):
        raise InputError(
            *first_problems([str(item) for item in bad], f"; see {workspace / CORPUS_QUARANTINE}"),
            "the corpus has no line that can be used; correct it"
            if not result.good
            else "the corpus is not used, as a bad line may hold somebody who is to be forgotten; correct it,"
            " or leave its bad lines out with data.bad_corpus_rows = quarantine",
        )
    _write_table(validated, pa.Table.from_pandas(good, schema=CORPUS_SCHEMA, preserve_index=False))
    return result


def run_validate(workspace: Path, corpus: Path, bad_corpus_rows: Literal["stop", "quarantine"] = "stop") -> str:
    """Validate requests and corpus, showing what is wrong with both at once.

    Raises:
        InputError: no request is good, or what `validate_corpus` raises.
    """
    problems = []
    requests, refused = judge_requests(workspace)
    if not requests.good:
        problems += first_problems([str(item) for item in refused], f"; see {workspace / REQUESTS_QUARANTINE}")
        problems.append("no deletion request can be used; correct them and take them in again")
    try:
        records = validate_corpus(workspace, corpus, bad_corpus_rows)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(*problems)
    return f"requests: {requests}; corpus: {records}"


def _ask(workspace: Path, name: str, frame: pd.DataFrame, checks: list[Check], source: Path) -> list[Outcome]:
    with atomic_folder(workspace / "data_docs" / name) as docs:
        # The time of the source, not now, so that the page of the same input keeps its address.
        run_time = datetime.fromtimestamp(source.stat().st_mtime, UTC)
        outcomes = run_suites({name: (frame, checks)}, docs, run_time)[name]
        for page in docs.rglob("*.html"):
            _forbid_loading(page)
    return outcomes


def _forbid_loading(page: Path) -> None:
    """Great Expectations' pages fetch pictures and styles from the Internet when somebody opens them."""
    policy = "default-src 'unsafe-inline' data: file:"
    html = page.read_text(encoding="utf-8")
    tag = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    page.write_text(html.replace("<head>", f"<head>{tag}", 1), encoding="utf-8")


def _unreadable(workspace: Path) -> list[Rejection]:
    """What intake set aside."""
    file = workspace / intake.UNREADABLE
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [Rejection.model_validate_json(line) for line in lines]


def _typed(row: dict[str, Any]) -> DeletionRequest | str:
    """The request of a row, or why it is none."""
    try:
        return DeletionRequest(**{name: row[name] for name in FIELDS if row[name]}, file=row["file"], row=row["row"])
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


def read_requests(workspace: Path) -> list[DeletionRequest]:
    """The good requests of a workspace that was judged."""
    rows = pq.read_table(workspace / "validated" / "requests.parquet").drop_columns("file_sha256").to_pylist()
    return [DeletionRequest.model_validate(row) for row in rows]


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
