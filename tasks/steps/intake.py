"""Step: take in deletion requests; good rows go on, bad ones are set aside with their reasons and stop nothing."""

import json
from collections.abc import Iterable

import pandas as pd

from tasks.params import Params
from tasks.step import Source, Step
from tasks.validation.expectations import PLACE, PROBLEM, Table, text_columns
from tasks.validation.judge import judge
from tasks.validation.tables import write_requests
from tasks.workspace import Place, RequestCounts, Workspace
from unilogit.data.request_files import RawRequest, read_requests
from unilogit.data.requests import DeletionRequest, Rejection, as_request
from unilogit.errors import InputError
from unilogit.files import write_json, write_text


def run_intake(workspace: Workspace, params: Params) -> RequestCounts:
    """Take in deletion requests: a CSV, JSON lines or Parquet file, or a folder of them.

    Raises:
        InputError: a file as a whole cannot be read: it is missing, empty, of an unknown kind, or lacks a column.
    """
    rows, unreadable = read_requests(params.data.requests)
    places = {_place(row): row for row in rows}
    requests: dict[str, DeletionRequest] = {}
    reasons: dict[str, list[str]] = {}
    for place, row in places.items():
        try:
            requests[place] = as_request(row.fields, row.file, row.row)
        except InputError as error:
            reasons[place] = error.problems
    requests = _without_repeats(requests)

    cells = [
        *({**requests[place].model_dump(mode="json"), PLACE: place} for place in requests),
        *(_bad_cells(place, reasons[place], places[place].fields["request_id"]) for place in reasons),
        *(_bad_cells(_place(rejection), rejection.reasons) for rejection in unreadable),
    ]
    columns = [PLACE, PROBLEM, *text_columns(DeletionRequest)]
    frame = pd.DataFrame(cells, columns=columns, dtype="str")
    judgement = judge(Table.REQUESTS, frame, workspace.path(Place.REQUEST_DOCS), params.data.requests)
    for place, sentences in judgement.refused.items():
        reasons[place] = reasons.get(place, []) + sentences

    refused = unreadable + [_rejection(places[place], reasons[place]) for place in reasons]
    good = [request for place, request in requests.items() if place not in reasons]
    counts = RequestCounts(
        rows=len(rows) + len(unreadable),
        repeated=len(rows) + len(unreadable) - len(frame),
        quarantined=len(refused),
        good=len(good),
        expectations=judgement.results,
        warnings=judgement.warnings,
    )
    refused.sort(key=lambda rejection: (rejection.file, rejection.row))
    write_text(
        workspace.path(Place.REFUSED_REQUESTS), "".join(f"{rejection.model_dump_json()}\n" for rejection in refused)
    )
    write_requests(workspace.path(Place.REQUESTS), good)
    # Outside a flow no batch came before, and nobody has approved anything.
    write_requests(workspace.path(Place.EARLIER_REQUESTS), [])
    write_json(workspace.path(Place.APPROVALS), {})
    write_json(workspace.path(Place.SNAPSHOTS), [])
    workspace.write(counts)
    return counts


def _place(row: RawRequest | Rejection) -> str:
    return f"{row.file}:{row.row}"


def _without_repeats(requests: dict[str, DeletionRequest]) -> dict[str, DeletionRequest]:
    """The first of the requests that ask the same, by place."""
    first: dict[str, str] = {}
    for place, request in requests.items():
        first.setdefault(request.content_sha256, place)
    return {place: requests[place] for place in first.values()}


def _bad_cells(place: str, reasons: Iterable[str], request_id: object = None) -> dict[str, str | None]:
    """Of a bad row only its id is compared with others."""
    name = request_id.strip() if isinstance(request_id, str) else None
    return {PLACE: place, PROBLEM: "\n".join(reasons), "request_id": name}


def _rejection(row: RawRequest, reasons: list[str]) -> Rejection:
    filled = {name: value for name, value in row.fields.items() if value}
    return Rejection(file=row.file, row=row.row, reasons=reasons, raw=json.dumps(filled, ensure_ascii=False))


STEP = Step(
    name="intake",
    function=run_intake,
    reads=(Source.REQUESTS,),
    writes=(
        Place.REQUESTS,
        Place.EARLIER_REQUESTS,
        Place.APPROVALS,
        Place.SNAPSHOTS,
        Place.REQUEST_COUNTS,
        Place.REFUSED_REQUESTS,
        Place.REQUEST_DOCS,
    ),
)

if __name__ == "__main__":
    STEP.command()
