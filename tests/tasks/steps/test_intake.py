"""Taking in requests with real Great Expectations: every bad row is named and explained, every good one goes on."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.steps.intake import STEP
from tasks.validation.tables import read_refused, read_requests
from tasks.workspace import Place, RequestCounts, Workspace
from tests.tasks.steps.taking_in import ASKS, REPEATED, SECRET, TIME, contents, take_in, write
from unilogit.data.example import generate_example
from unilogit.data.request_fields import FIELDS
from unilogit.data.requests import DeletionRequest

LONG = "x" * 201

NOT_A_TIME = "must be a time with a time zone in the form of RFC 3339; write it like 2025-03-01T12:00:00Z"
NO_ZONE = "has no time zone; add Z for UTC, or how far from it, like 2025-03-01T12:00:00+01:00"
NOTHING = "nothing says what to forget; fill in `subject_id`, `aliases`, `record_ids` or `text`"
EARLY = "field `due_at` is earlier than `received_at`; correct one of them"
NO_ID = "field `request_id` is missing; give the request an id of its own"
NO_TIME = "field `received_at` is missing; add the time the request came in, like 2025-03-01T12:00:00Z"


def too_long(field):
    return f"field `{field}` is longer than 200 characters; shorten it"


# What each row of a request file gets: its sentences, or none and it goes on.
ROWS = [
    ({**ASKS, "request_id": "good"}, []),
    ({"request_id": "records", "received_at": TIME, "record_ids": ["r1", "r2"]}, []),
    ({"request_id": "text", "received_at": "2025-03-01T13:30:00.25+01:00", "text": SECRET, "due_at": TIME}, [EARLY]),
    ({"request_id": "due at once", "received_at": TIME, "text": SECRET, "due_at": TIME}, []),
    ({**ASKS, "request_id": "x" * 200}, []),
    ({**ASKS}, [NO_ID]),
    ({**ASKS, "request_id": "  "}, [NO_ID]),
    ({**ASKS, "request_id": LONG}, [too_long("request_id")]),
    ({"request_id": "a", "subject_id": SECRET}, [NO_TIME]),
    ({**ASKS, "request_id": "b", "received_at": "2025-03-01T12:00:00"}, [f"field `received_at` {NO_ZONE}"]),
    ({**ASKS, "request_id": "e", "received_at": "12:00"}, [f"field `received_at` {NOT_A_TIME}"]),
    ({**ASKS, "request_id": "f", "received_at": SECRET}, [f"field `received_at` {NOT_A_TIME}"]),
    ({**ASKS, "request_id": "g", "due_at": "next month"}, [f"field `due_at` {NOT_A_TIME}"]),
    ({**ASKS, "request_id": "h", "due_at": "2025-03-01T11:59:59Z"}, [EARLY]),
    (
        {**ASKS, "request_id": "i", "received_at": "9999-12-31T00:00:00Z"},
        ["a time lies too far away; correct its year"],
    ),
    ({"request_id": "j", "received_at": TIME}, [NOTHING]),
    ({"request_id": "k", "received_at": TIME, "subject_id": " ", "record_ids": [], "text": ""}, [NOTHING]),
    ({**ASKS, "request_id": "l", "subject_id": LONG}, [too_long("subject_id")]),
    ({"request_id": "m", "received_at": TIME, "record_ids": ["r1", LONG]}, [too_long("record_ids[1]")]),
    (
        {"request_id": "n", "received_at": TIME, "record_ids": [""]},
        ["field `record_ids[0]` is empty; fill it in or remove the line"],
    ),
    ({"due_at": "soon"}, [NO_ID, NO_TIME, f"field `due_at` {NOT_A_TIME}", NOTHING]),
    ({**ASKS, "request_id": "good", "text": "more"}, [REPEATED.format("a.jsonl:1")]),
    ({"request_id": "twice", "received_at": TIME}, [NOTHING, REPEATED.format("a.jsonl:24")]),
    ({**ASKS, "request_id": "twice"}, []),
    ({**ASKS, "request_id": "twice", "source": "mail"}, [REPEATED.format("a.jsonl:24")]),
]
GOOD = [number for number, (_, sentences) in enumerate(ROWS, start=1) if not sentences]
UNREADABLE = f'{{"request_id": "{SECRET}'
AGAIN = {**ASKS, "request_id": " good", "received_at": "2025-03-01T13:00:00+01:00"}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A workspace with every kind of bad row in a.jsonl; b.jsonl brings an unreadable row and a repeated request."""
    folder = tmp_path_factory.mktemp("judged")
    write(folder / "inbox" / "a.jsonl", *(row for row, _ in ROWS))
    write(folder / "inbox" / "b.jsonl", UNREADABLE, AGAIN)
    workspace = Workspace(folder / "w")
    return workspace, take_in(folder / "inbox", workspace), folder / "inbox"


@pytest.mark.parametrize("number", range(1, len(ROWS) + 1))
def test_every_bad_request_gets_its_sentences(judged, number):
    fields, sentences = ROWS[number - 1]
    refused = [item for item in read_refused(judged[0]) if (item.file, item.row) == ("a.jsonl", number)]
    assert [item.reasons for item in refused] == ([sentences] if sentences else [])
    assert [json.loads(item.raw) for item in refused] == ([fields] if sentences else [])


def test_good_requests_go_on_as_they_were_written(judged):
    workspace, counts, _ = judged
    requests = list(read_requests(workspace))
    assert [(request.file, request.row) for request in requests] == [("a.jsonl", number) for number in GOOD]
    for request in requests:
        fields = ROWS[request.row - 1][0]
        assert request == DeletionRequest(**fields, reference=request.reference, file="a.jsonl", row=request.row)
        assert request.reference == fields["request_id"] or request.reference.startswith("request-")
    assert requests[0].due_at == datetime(2025, 3, 31, 12, tzinfo=UTC)
    assert (counts.rows, counts.repeated, counts.good) == (len(ROWS) + 2, 1, len(GOOD))
    assert counts.quarantined == len(ROWS) - len(GOOD) + 1
    schema = pq.read_schema(workspace.path(Place.REQUESTS))
    assert schema.names == [*FIELDS, "reference", "content_sha256", "file", "row"]
    earlier = pq.read_table(workspace.path(Place.EARLIER_REQUESTS))
    assert (earlier.schema, earlier.num_rows) == (schema, 0)


def test_an_unreadable_row_is_set_aside_as_it_came(judged):
    *_, last = read_refused(judged[0])
    assert (last.file, last.row, last.raw) == ("b.jsonl", 1, UNREADABLE)
    assert "is not JSON" in last.reasons[0]


def test_counts_reasons_and_warnings_hold_nobodys_data(judged):
    workspace, counts, _ = judged
    assert workspace.read(RequestCounts) == counts
    told = [str(counts), counts.model_dump_json(), *(" ".join(item.reasons) for item in read_refused(workspace))]
    assert not [text for text in told if SECRET in text or LONG in text or "next month" in text]
    assert SECRET in workspace.path(Place.REFUSED_REQUESTS).read_text(encoding="utf-8")
    warning, summary = str(counts).splitlines()
    assert warning.startswith("warning: more than a tenth of the rows were refused; is this the right file")
    assert (
        summary
        == f"requests: {len(GOOD)} good of {len(ROWS) + 2} rows ({counts.quarantined} set aside, 1 exact repeats)"
    )


def test_data_docs_say_what_was_asked_and_what_was_refused(judged):
    docs = judged[0].path(Place.REQUEST_DOCS)
    [page] = (docs / "validations" / "requests").rglob("*.html")
    assert str(page.relative_to(docs)) in (docs / "index.html").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    assert "values must be unique" in text
    assert NO_TIME in text


def test_taking_in_again_gives_the_same_files_and_answer(judged):
    workspace, counts, inbox = judged
    before = contents(workspace)
    assert take_in(inbox, workspace) == counts
    assert contents(workspace) == before


def test_the_same_requests_by_every_kind_of_file_are_taken_once(tmp_path):
    ann = {**ASKS, "request_id": "R1", "text": 'Ann, "the" one\nof two lines'}
    bob = {"request_id": "R2", "received_at": TIME, "record_ids": ["b1", "b2"], "due_at": TIME, "source": "Zürich"}
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        write(tmp_path / "inbox" / name, ann, bob)
    counts = take_in(tmp_path / "inbox", Workspace(tmp_path))
    assert (counts.rows, counts.repeated, counts.good, counts.warnings) == (6, 4, 2, [])
    # Bob stands on line 4 of the CSV file: a header, and two lines of Ann's text, come before him.
    assert list(read_requests(Workspace(tmp_path))) == [
        DeletionRequest(**ann, reference="R1", file="a.csv", row=2),
        DeletionRequest(**bob, reference="R2", file="a.csv", row=4),
    ]


def test_a_file_without_one_good_row_is_no_error(tmp_path):
    counts = take_in(write(tmp_path / "r.jsonl", "{", "[]"), Workspace(tmp_path))
    assert (counts.rows, counts.good, counts.quarantined) == (2, 0, 2)
    assert list(read_requests(Workspace(tmp_path))) == []


def test_an_empty_folder_is_no_error(tmp_path):
    (tmp_path / "inbox").mkdir()
    workspace = Workspace(tmp_path / "w")
    assert take_in(tmp_path / "inbox", workspace).rows == 0
    assert list(read_requests(workspace)) == list(read_refused(workspace)) == []
    assert all(workspace.has(place) for place in STEP.writes)


ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=5).filter(
    str.strip
)
names = ids | st.sampled_from(["x" * 200, LONG, f" {'x' * 200} "])
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
odd_times = ["2025-03-01t12:00:00.5z", "2025-13-01T12:00:00Z", "2025-03-01T12:00:00", "noon"]
times = st.datetimes(timezones=zones).map(datetime.isoformat) | st.sampled_from([TIME, *odd_times])
rows = st.fixed_dictionaries(
    {"received_at": times},
    optional={
        "subject_id": names,
        "record_ids": st.lists(names | st.just(" "), min_size=1, max_size=2),
        "text": ids,
        "due_at": times,
        "source": ids,
    },
)


def in_utc(text):
    time = datetime.fromisoformat(text.upper())
    if time.tzinfo is None:
        raise ValueError
    return time.astimezone(UTC)


def is_request(fields):
    """The contract of a row in the words of the standard library."""
    try:
        received = in_utc(fields["received_at"])
        last = received + timedelta(days=30)
        due = in_utc(fields["due_at"]) if "due_at" in fields else last
    except (ValueError, OverflowError):
        return False
    selectors = [fields[name] for name in ("subject_id", "text") if name in fields] + fields.get("record_ids", [])
    named = [fields.get("request_id", ""), *selectors]
    return due >= received and bool(selectors) and all(0 < len(name.strip()) <= 200 for name in named)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.tuples(st.none() | names, rows), min_size=30, max_size=60))
def test_a_row_passes_if_and_only_if_it_is_a_request(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("agree")
    # A number before each id keeps ids apart, so that only the row itself decides.
    lines = [
        {**fields, **({} if name is None else {"request_id": f"{number}{name}"})}
        for number, (name, fields) in enumerate(drawn)
    ]
    workspace = Workspace(folder / "w")
    take_in(write(folder / "requests.jsonl", *lines), workspace)
    good = list(read_requests(workspace))
    assert [item.row for item in good] == [number for number, line in enumerate(lines, start=1) if is_request(line)]
    for item in good:
        assert item == DeletionRequest(**lines[item.row - 1], reference=item.reference, file=item.file, row=item.row)
    refused = list(read_refused(workspace))
    assert sorted([item.row for item in good + refused]) == list(range(1, len(lines) + 1))
    assert all(item.reasons and all(item.reasons) for item in refused)


def test_the_examples_requests(tmp_path):
    generate_example(tmp_path / "example")
    counts = take_in(tmp_path / "example" / "requests", Workspace(tmp_path))
    assert (counts.rows, counts.good, counts.repeated, counts.quarantined) == (21, 14, 1, 6)


def test_the_command_takes_in_once_and_calls_nobody(tmp_path):
    write(tmp_path / "r.jsonl", {**ASKS, "request_id": "a"})
    command = [sys.executable, "-m", "tasks.steps.intake", "--workspace", str(tmp_path / "w")]
    command += ["--set", f"data.requests={tmp_path / 'r.jsonl'}"]
    with socket.create_server(("127.0.0.1", 0)) as proxy:  # who wants to reach the Internet comes by here
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environment = {**os.environ, "HTTP_PROXY": address, "HTTPS_PROXY": address, "UNILOGIT_HOME": str(tmp_path)}
        told = [subprocess.run(command, env=environment, capture_output=True, text=True, check=False) for _ in range(2)]
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    summary = "requests: 1 good of 1 rows (0 set aside)\n"
    assert [(done.returncode, done.stderr, done.stdout) for done in told] == [
        (0, "", summary),
        (0, "", f"kept: {summary}"),
    ]
    assert [request.request_id for request in read_requests(Workspace(tmp_path / "w"))] == ["a"]
