"""Judging by real Great Expectations: every bad row is named and explained, every good one goes on."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.intake import run_intake
from tasks.validate import (
    CORPUS_QUARANTINE,
    REQUESTS_QUARANTINE,
    judge_requests,
    read_requests,
    run_validate,
    validate_corpus,
)
from unilogit.data.requests import DeletionRequest
from unilogit.errors import InputError
from unilogit.files import read_json

TIME = "2025-03-01T12:00:00Z"
LONG = "x" * 201
SECRET = "Odalys Quenneville"
ASKS = {"received_at": TIME, "subject_id": SECRET}

NOT_A_TIME = "must be a time with a time zone in the form of RFC 3339; write it like 2025-03-01T12:00:00Z"
NOTHING = "nothing says what to forget; fill in `subject_id`, `record_ids` or `text`"
EARLY = "field `due_at` is earlier than `received_at`; correct one of them"
NO_ID = "field `request_id` is missing; give the request an id of its own"
NO_TIME = "field `received_at` is missing; add the time the request came in, like 2025-03-01T12:00:00Z"
REPEATED = "field `request_id` repeats that of {}; give it one of its own or remove the line"


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
    ({**ASKS, "request_id": "b", "received_at": "2025-03-01"}, [f"field `received_at` {NOT_A_TIME}"]),
    ({**ASKS, "request_id": "c", "received_at": "2025-03-01T12:00:00"}, [f"field `received_at` {NOT_A_TIME}"]),
    ({**ASKS, "request_id": "d", "received_at": "2025-02-30T12:00:00Z"}, [f"field `received_at` {NOT_A_TIME}"]),
    ({**ASKS, "request_id": "e", "received_at": "1740830400"}, [f"field `received_at` {NOT_A_TIME}"]),
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
    ({"request_id": "twice", "received_at": TIME}, [NOTHING, REPEATED.format("a.jsonl:26")]),
    ({**ASKS, "request_id": "twice"}, []),
    ({**ASKS, "request_id": "twice", "source": "mail"}, [REPEATED.format("a.jsonl:26")]),
]
GOOD = [number for number, (_, sentences) in enumerate(ROWS, start=1) if not sentences]
UNREADABLE = f'{{"request_id": "{SECRET}'
AGAIN = {**ASKS, "request_id": " good", "received_at": "2025-03-01T13:00:00+01:00"}


def write_lines(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), encoding="utf-8"
    )
    return path


def quarantine(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def is_filled(value):
    return bool(value.strip() if isinstance(value, str) else value)


def contents(workspace):
    """Every file by name; of Data Docs, which show when they were drawn, only that they are there."""
    files = [file.relative_to(workspace) for file in workspace.rglob("*") if file.is_file()]
    return {file: file.parts[0] == "data_docs" or (workspace / file).read_bytes() for file in files}


def accepted(fields):
    """Whether the request model, which knows nothing of Great Expectations, takes these fields."""
    try:
        DeletionRequest.model_validate(fields)
    except (ValidationError, OverflowError):
        return False
    return True


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A workspace with every kind of bad row in a.jsonl; b.jsonl brings an unreadable row and a repeated request."""
    workspace = tmp_path_factory.mktemp("judged")
    write_lines(workspace / "inbox" / "a.jsonl", *(row for row, _ in ROWS))
    write_lines(workspace / "inbox" / "b.jsonl", UNREADABLE, AGAIN)
    run_intake(workspace / "inbox", workspace)
    return workspace, *judge_requests(workspace)


@pytest.mark.parametrize("number", range(1, len(ROWS) + 1))
def test_every_bad_request_gets_its_sentences(judged, number):
    fields, sentences = ROWS[number - 1]
    found = [
        item
        for item in quarantine(judged[0] / REQUESTS_QUARANTINE)
        if (item["file"], item["row"]) == ("a.jsonl", number)
    ]
    assert [item["reasons"] for item in found] == ([sentences] if sentences else [])
    for item in found:
        assert json.loads(item["raw"]) == {name: value for name, value in fields.items() if is_filled(value)}


def test_good_requests_go_on_as_they_were_written(judged):
    workspace, result, _ = judged
    requests = read_requests(workspace)
    assert [(request.file, request.row) for request in requests] == [("a.jsonl", number) for number in GOOD]
    for request in requests:
        assert request == DeletionRequest(**ROWS[request.row - 1][0], file="a.jsonl", row=request.row)
    assert requests[0].due_at == datetime(2025, 3, 31, 12, tzinfo=UTC)
    assert (result.rows, result.repeated, result.good) == (len(ROWS) + 2, 1, len(GOOD))
    assert result.quarantined == len(ROWS) - len(GOOD) + 1


def test_an_unreadable_row_stays_set_aside_as_it_came(judged):
    workspace, _, refused = judged
    items = quarantine(workspace / REQUESTS_QUARANTINE)
    assert [item.model_dump() for item in sorted(refused, key=lambda item: (item.file, item.row))] == items
    assert (items[-1]["file"], items[-1]["row"], items[-1]["raw"]) == ("b.jsonl", 1, UNREADABLE)
    assert "is not JSON" in items[-1]["reasons"][0]


def test_counts_and_reasons_hold_nobodys_data(judged):
    workspace, result, refused = judged
    counts = (workspace / "validated" / "requests.json").read_text(encoding="utf-8")
    told = [counts, str(result), *(reason for item in refused for reason in item.reasons)]
    assert read_json(workspace / "validated" / "requests.json") == result.model_dump()
    assert not [text for text in told if SECRET in text or LONG in text or "next month" in text]
    assert SECRET in (workspace / REQUESTS_QUARANTINE).read_text(encoding="utf-8")


def test_data_docs_name_the_suite_and_what_was_asked(judged):
    docs = judged[0] / "data_docs" / "requests"
    assert "requests" in (docs / "index.html").read_text(encoding="utf-8")
    [page] = (docs / "validations").rglob("*.html")
    assert page.is_relative_to(docs / "validations" / "requests")
    assert "values must be unique" in page.read_text(encoding="utf-8")


def test_judging_again_gives_the_same_files_and_answer(judged):
    workspace, result, refused = judged
    before = contents(workspace)
    assert judge_requests(workspace) == (result, refused)
    assert contents(workspace) == before


ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=5).filter(
    str.strip
)
names = ids | st.sampled_from(["x" * 200, LONG, f" {'x' * 200} "])
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(timezones=zones).map(datetime.isoformat) | st.sampled_from(
    [
        TIME,
        "2025-03-01t12:00:00.5z",
        "2025-03-01T12:00:00-00:00",
        "2025-13-01T12:00:00Z",
        "2025-03-01T24:00:00Z",
        "noon",
    ]
)
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


@settings(max_examples=3, deadline=None)
@given(st.lists(st.tuples(st.none() | names, rows), min_size=30, max_size=60))
def test_a_row_passes_if_and_only_if_it_is_a_request(tmp_path_factory, drawn):
    workspace = tmp_path_factory.mktemp("agree")
    # A number before each id keeps ids apart, so that only the row itself decides.
    given_ = [
        {**fields, **({} if name is None else {"request_id": f"{number}{name}"})}
        for number, (name, fields) in enumerate(drawn)
    ]
    run_intake(write_lines(workspace / "requests.jsonl", *given_), workspace)
    _, refused = judge_requests(workspace)
    good = [request.row for request in read_requests(workspace)]
    assert good == [number for number, fields in enumerate(given_, start=1) if accepted(fields)]
    assert sorted(good + [item.row for item in refused]) == list(range(1, len(given_) + 1))
    assert all(item.reasons and all(item.reasons) for item in refused)


RECORD = {"record_id": "r1", "subject_ids": ["s1"], "prompt": "Who?", "response": SECRET}
# What each line of a corpus gets: its sentence, or none and it goes on.
LINES = [
    (RECORD, ""),
    ({**RECORD, "record_id": "plain", "prompt": "", "response": "\n  indented"}, ""),
    ('{"record_id": ', "is not JSON (expecting value at character 14); correct or remove the line"),
    ({"record_id": "r2", "prompt": SECRET}, "field `response` is missing; add it or remove the line"),
    (
        {**RECORD, "record_id": "r3", "response": " \n\t"},
        "field `response` holds only white space; write the answer or remove the line",
    ),
    (
        {**RECORD, "response": "again"},
        "field `record_id` repeats that of corpus.jsonl:1; give it one of its own or remove the line",
    ),
    (RECORD, "field `record_id` repeats that of corpus.jsonl:1; give it one of its own or remove the line"),
    ({**RECORD, "record_id": "last"}, ""),
]
BAD = [(number, sentence) for number, (_, sentence) in enumerate(LINES, start=1) if sentence]


def judge_corpus(workspace, *lines, bad_corpus_rows="stop"):
    return validate_corpus(workspace, write_lines(workspace / "corpus.jsonl", *lines), bad_corpus_rows)


def test_bad_corpus_lines_stop_the_run_and_leave_no_corpus(tmp_path):
    judge_corpus(tmp_path, RECORD)
    assert (tmp_path / "validated" / "corpus.parquet").exists()
    with pytest.raises(InputError) as error:
        judge_corpus(tmp_path, *(line for line, _ in LINES))
    *shown, remedy = error.value.problems
    assert shown == [f"corpus.jsonl:{number}: {sentence}" for number, sentence in BAD]
    assert "data.bad_corpus_rows = quarantine" in remedy
    assert SECRET not in str(error.value)
    assert not (tmp_path / "validated" / "corpus.parquet").exists()
    assert len(quarantine(tmp_path / CORPUS_QUARANTINE)) == len(BAD)
    assert list((tmp_path / "data_docs" / "corpus" / "validations" / "corpus").rglob("*.html"))


def test_bad_corpus_lines_are_left_out_when_that_is_asked_for(tmp_path):
    lines = [line for line, _ in LINES]
    result = judge_corpus(tmp_path, *lines, bad_corpus_rows="quarantine")
    good = pq.read_table(tmp_path / "validated" / "corpus.parquet").to_pylist()
    assert [row["row"] for row in good] == [1, 2, 8]
    for row in good:
        assert {name: row[name] for name in RECORD} == lines[row["row"] - 1]
    items = quarantine(tmp_path / CORPUS_QUARANTINE)
    assert [(item["row"], item["reasons"]) for item in items] == [(number, [sentence]) for number, sentence in BAD]
    assert items[0]["raw"] == lines[2].strip()
    counts = (tmp_path / "validated" / "corpus.json").read_text(encoding="utf-8")
    assert (result.rows, result.quarantined, result.good) == (8, 5, 3)
    assert json.loads(counts) == result.model_dump()
    assert SECRET not in counts

    before = contents(tmp_path)
    validate_corpus(tmp_path, tmp_path / "corpus.jsonl", "quarantine")
    assert contents(tmp_path) == before


def test_a_corpus_without_one_good_line_is_never_used(tmp_path):
    with pytest.raises(InputError, match="the corpus has no line that can be used"):
        judge_corpus(tmp_path, "{", "[]", bad_corpus_rows="quarantine")
    assert not (tmp_path / "validated" / "corpus.parquet").exists()


def test_what_is_wrong_with_requests_and_corpus_is_shown_at_once(tmp_path):
    with pytest.raises(InputError, match=r"requests\.parquet: there is no such file; run `python -m tasks\.intake`"):
        judge_requests(tmp_path)
    run_intake(write_lines(tmp_path / "inbox" / "r.jsonl", {"request_id": "a", "received_at": TIME}), tmp_path)
    with pytest.raises(InputError) as error:
        run_validate(tmp_path, write_lines(tmp_path / "corpus.jsonl", RECORD, "{"))
    assert f"r.jsonl:1: {NOTHING}" in error.value.problems
    assert "no deletion request can be used; correct them and take them in again" in error.value.problems
    assert any(problem.startswith("corpus.jsonl:2: is not JSON") for problem in error.value.problems)

    run_intake(write_lines(tmp_path / "inbox" / "r.jsonl", {**ASKS, "request_id": "a"}), tmp_path)
    told = run_validate(tmp_path, write_lines(tmp_path / "corpus.jsonl", RECORD))
    assert told == "requests: 1 good of 1 rows (0 set aside); corpus: 1 good of 1 rows (0 set aside)"


def test_no_requests_at_all_is_no_error_of_great_expectations(tmp_path):
    (tmp_path / "inbox").mkdir()
    run_intake(tmp_path / "inbox", tmp_path)
    result, refused = judge_requests(tmp_path)
    assert (result.rows, result.good, refused, read_requests(tmp_path)) == (0, 0, [], [])
