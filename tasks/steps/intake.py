"""Step: take in deletion requests; good rows go on, bad ones are set aside with their reasons and stop nothing.

Rows are taken some thousands at a time, so that memory does not grow with the files.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress, islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.params import Params
from tasks.step import Source, Step
from tasks.validation.expectations import PLACE, PROBLEM, Table, text_columns
from tasks.validation.judge import Judges, judging
from tasks.validation.tables import request_columns, request_writer, write_requests
from tasks.workspace import Place, RequestCounts, Suppressions, Workspace, pseudonyms
from unilogit.data.inbox import scan_inbox
from unilogit.data.locations import UnreadableFile, file_name, modified_time
from unilogit.data.pseudonyms import Pseudonyms
from unilogit.data.request_files import RawRequest, read_requests
from unilogit.data.request_mapping import Mapping
from unilogit.data.requests import DeletionRequest, Rejection, as_request
from unilogit.data.seen_requests import SeenRequests
from unilogit.errors import InputError
from unilogit.files import atomic_path, write_json

CHUNK = 50_000  # rows


def run_intake(workspace: Workspace, params: Params) -> RequestCounts:
    """Take in deletion requests: a file, or a folder of them.

    A file that as a whole holds no requests is one refused row, of number 0. Files are called by their names, or by a
    pseudonym where the name may be somebody's.

    Raises:
        InputError: nothing is there, or it cannot be reached; or data.request_mapping is wrong. What was there before
            stays.
    """
    keyed = pseudonyms()
    inbox = scan_inbox(params.data.requests, wait=False, name=keyed.location(params.data.requests))
    names = {file: keyed.file(file_name(file), []) for file in inbox.files}
    while True:
        try:
            with no_search_for_garbage():
                counts = _take_in(workspace, params, names, keyed, inbox.strays)
            break
        except _PersonalName as error:  # known now: begin again, so that the name is nowhere
            names[error.file] = error.pseudonym
    # Outside a flow no batch came before, nobody has approved anything, and nothing is purged.
    write_requests(workspace.path(Place.EARLIER_REQUESTS), [])
    write_json(workspace.path(Place.APPROVALS), {})
    write_json(workspace.path(Place.SNAPSHOTS), [])
    workspace.write(Suppressions())
    workspace.write(counts)
    return counts


def _take_in(
    workspace: Workspace, params: Params, names: dict[str, str], keyed: Pseudonyms, warnings: Sequence[str]
) -> RequestCounts:
    told = list(warnings)
    rows = _rows(names, params.data.request_mapping, told)
    run_time = datetime.fromtimestamp(modified_time(params.data.requests), UTC)
    counts = dict.fromkeys(("rows", "repeated", "quarantined", "good"), 0)
    with (
        request_writer(workspace.path(Place.REQUESTS)) as write_good,
        _rejection_writer(workspace.path(Place.REFUSED_REQUESTS)) as write_refused,
        judging(Table.REQUESTS, workspace.path(Place.REQUEST_DOCS), run_time) as judges,
        SeenRequests() as seen,
    ):
        while (chunk := _Chunk(list(islice(rows, CHUNK)))).rows or not counts["rows"]:
            chunk.parse(keyed)
            chunk.check_names(names, keyed)
            good, refused = chunk.sort_out(seen, judges)
            write_good(good)
            write_refused(refused)
            counts["rows"] += len(chunk.rows)
            counts["quarantined"] += len(refused)
            counts["good"] += good.num_rows
            counts["repeated"] += len(chunk.rows) - len(refused) - good.num_rows
            if not chunk.rows:
                break
            chunk.rows.clear()  # for what errors leave behind, Great Expectations' own too, may hold the chunk
            chunk.requests.clear()
            del good, refused
            gc.collect()
    return RequestCounts(**counts, expectations=judges.results, warnings=told + judges.warnings)


@contextmanager
def no_search_for_garbage() -> Iterator[None]:
    """Keep Python from searching all that is in memory while objects come and go by the hundred thousand."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class _PersonalName(Exception):
    """A file's name looks like a person whom a request in it is about."""

    def __init__(self, file: str, pseudonym: str) -> None:
        self.file, self.pseudonym = file, pseudonym


def _rows(names: dict[str, str], mapping: Mapping, warnings: list[str]) -> Iterator[RawRequest | Rejection]:
    for file, name in names.items():
        try:
            yield from read_requests(file, mapping, warnings=warnings, name=name)
        except UnreadableFile as error:
            yield Rejection(file=name, row=0, reasons=[error.reason], raw="")


@contextmanager
def _rejection_writer(file: Path) -> Iterator[Callable[[Sequence[Rejection]], None]]:
    with atomic_path(file) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        yield lambda refused: stream.writelines(f"{rejection.model_dump_json()}\n" for rejection in refused)


@dataclass
class _Chunk:
    """Some rows on their way.

    Attributes:
        requests: position → the request that the row makes.
        reasons: position → what is wrong with the row.
    """

    rows: list[RawRequest | Rejection]
    requests: dict[int, DeletionRequest] = field(default_factory=dict)
    reasons: dict[int, list[str]] = field(default_factory=dict)

    def parse(self, keyed: Pseudonyms) -> None:
        for position, row in enumerate(self.rows):
            if isinstance(row, Rejection):
                self.reasons[position] = row.reasons
                continue
            try:
                self.requests[position] = as_request(row.fields, row.file, row.row, keyed.reference)
            except InputError as error:
                self.reasons[position] = error.problems

    def check_names(self, names: dict[str, str], keyed: Pseudonyms) -> None:
        """See whether names of files look like somebody.

        Raises:
            _PersonalName: the first that does.
        """
        people: dict[str, list[DeletionRequest]] = {}
        for position, row in enumerate(self.rows):
            if isinstance(row, RawRequest):
                person = self.requests.get(position) or _person(row)
                people.setdefault(row.file, []).append(person)
        for file, name in names.items():
            if name == file_name(file) and (harmless := keyed.file(name, people.get(name, []))) != name:
                raise _PersonalName(file, harmless)

    def sort_out(self, seen: SeenRequests, judges: Judges) -> tuple[pa.RecordBatch, list[Rejection]]:
        """The good requests, and the rows that are none, each in order; what is in neither asks the same again."""
        first: dict[str, int] = {}
        for position, request in self.requests.items():
            first.setdefault(request.content_sha256, position)
        positions = list(first.values())
        before = seen.find([self.requests[position] for position in positions])
        for place, earlier in before.items():
            if not earlier.is_same:
                wrong = f"field `request_id` repeats that of {earlier.origin}"
                self.reasons[positions[place]] = [f"{wrong}; give it one of its own or remove the line"]
        fresh = [position for place, position in enumerate(positions) if place not in before]
        columns = request_columns([self.requests[position] for position in fresh])
        if refused := judges.ask(self._cells(fresh, columns)):
            places = {f"{row.file}:{row.row}": position for position, row in enumerate(self.rows)}
            for name, sentences in refused.items():
                self.reasons[places[name]] = self.reasons.get(places[name], []) + sentences
        is_good = [position not in self.reasons for position in fresh]
        seen.add([self.requests[position] for position in compress(fresh, is_good)])
        good = columns.filter(pa.array(is_good, pa.bool_()))
        return good, [self._rejection(position) for position in sorted(self.reasons)]

    def _cells(self, fresh: list[int], columns: pa.RecordBatch) -> pd.DataFrame:
        """Requests as Great Expectations is asked about them, then the rows that are none."""
        bad = sorted(self.reasons)
        rest = {name: pa.nulls(len(bad), pa.string()) for name in text_columns(DeletionRequest)}
        rest["request_id"] = pa.array([_request_id(self.rows[position]) for position in bad], pa.string())
        texts = {name: pa.concat_arrays([_as_text(columns[name]), nulls]) for name, nulls in rest.items()}
        cells = {
            PLACE: [f"{self.rows[position].file}:{self.rows[position].row}" for position in (*fresh, *bad)],
            PROBLEM: [*[None] * len(fresh), *("\n".join(self.reasons[position]) for position in bad)],
            **texts,
        }
        return pd.DataFrame({name: pd.array(cell, dtype="str") for name, cell in cells.items()})

    def _rejection(self, position: int) -> Rejection:
        row = self.rows[position]
        return Rejection(file=row.file, row=row.row, reasons=self.reasons[position], raw=row.raw)


def _person(row: RawRequest) -> DeletionRequest:
    """Whom a row is about that makes no request."""
    never = datetime.fromtimestamp(0, UTC)
    asked = {name: row.fields[name] for name in ("subject_id", "aliases", "text")}
    return DeletionRequest.model_construct(None, request_id="", received_at=never, due_at=never, **asked)  # type: ignore[arg-type]


def _as_text(column: pa.Array) -> pa.Array:
    if not pa.types.is_timestamp(column.type):
        return column.cast(pa.string())
    texts = np.datetime_as_string(column.to_numpy(zero_copy_only=False), timezone="UTC")  # with a Z
    return pa.array(texts.tolist(), pa.string())


def _request_id(row: RawRequest | Rejection) -> str | None:
    """Of a bad row only its id is compared with others."""
    name = row.fields["request_id"] if isinstance(row, RawRequest) else None
    return name.strip() if isinstance(name, str) else None


STEP = Step(
    name="intake",
    function=run_intake,
    reads=(Source.REQUESTS,),
    writes=(
        Place.REQUESTS,
        Place.EARLIER_REQUESTS,
        Place.APPROVALS,
        Place.SNAPSHOTS,
        Place.SUPPRESSIONS,
        Place.REQUEST_COUNTS,
        Place.REFUSED_REQUESTS,
        Place.REQUEST_DOCS,
    ),
    params=("data.request_mapping",),
)

if __name__ == "__main__":
    STEP.command()
