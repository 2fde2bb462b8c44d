"""Step: judge requests and corpus by Great Expectations; good rows go on, bad ones are set aside with every reason.

Bad requests never stop the run. A bad corpus line does, unless it is told otherwise: it may hold the
very person to be forgotten.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from tasks import intake
from tasks.command import run_command
from tasks.suites import PLACE, Outcome, corpus_checks, request_checks, run_suites
from unilogit.data.records import SCHEMA, BadRecord, explain, frame_records, read_corpus
from unilogit.data.request_files import FIELDS
from unilogit.data.requests import DeletionRequest, Rejection
from unilogit.data.rows import first_problems
from unilogit.errors import InputError
from unilogit.files import atomic_folder, atomic_path, write_json, write_text

CORPUS_QUARANTINE = Path("quarantine") / "corpus.jsonl"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_TIME = TypeAdapter(AwareDatetime)
_UTC = pa.timestamp("us", tz="UTC")
_REQUEST_SCHEMA = pa.schema([field.with_type(_UTC) if field.name.endswith("_at") else field for field in intake.SCHEMA])


class ExpectationResult(BaseModel):
    """One expectation in numbers."""

    expectation: str
    columns: list[str]
    success: bool
    unexpected_count: int


class SuiteResult(BaseModel):
    """What became of the rows of the requests or of the corpus; `repeated` ones were exact repeats."""

    rows: int
    unreadable: int
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
            `bad_corpus_rows` is "stop". Quarantine, Data Docs and validation.json tell why; validated/ is absent.
    """
    taken_in = workspace / "requests.parquet"
    if not taken_in.exists():
        raise InputError(f"{taken_in}: there is no such file; run `python -m tasks.intake` first")
    for name in ("requests", "corpus"):
        (workspace / "validated" / f"{name}.parquet").unlink(missing_ok=True)
    records, bad_records = read_corpus(corpus)
    rows = pq.read_table(taken_in).to_pylist()
    unreadable = _unreadable_requests(workspace, rows)
    requests = [_typed(row) for row in rows]
    unique = _without_repeats(requests)
    request_frame = _request_frame([rows[i] for i in unique], [requests[i] for i in unique])
    corpus_frame = _corpus_frame(records, bad_records)

    with atomic_folder(workspace / "data_docs") as docs:
        # Intake's time, not now, so that the same inputs give the same pages.
        run_time = datetime.fromtimestamp(taken_in.stat().st_mtime, UTC)
        outcomes = run_suites(
            {"requests": (request_frame, request_checks()), "corpus": (corpus_frame, corpus_checks())}, docs, run_time
        )
    refused = _reasons(request_frame, outcomes["requests"], "request_id", "refusal")
    bad = _reasons(corpus_frame, outcomes["corpus"], "record_id", "problem")
    ...
