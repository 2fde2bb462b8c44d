"""What a deletion request is: its times, its selectors, and the digest that knows it again."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unilogit.data.records import explain
from unilogit.data.requests import DeletionRequest, Rejection, as_request
from unilogit.errors import InputError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {"request_id": "r1", "received_at": NOON, "subject_id": "P-1"}

zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=zones)


def refusals(**fields):
    with pytest.raises(ValidationError) as error:
        DeletionRequest(**fields)
    return explain(error.value)


@settings(deadline=None)
@given(times, st.booleans())
def test_times_are_kept_in_utc_and_a_request_is_due_after_30_days(time, as_text):
    request = DeletionRequest(**{**GOOD, "received_at": time.isoformat() if as_text else time})
    assert request.received_at == time
    assert request.received_at.utcoffset() == timedelta(0)
    assert (request.due_at - time).total_seconds() == 30 * 24 * 60 * 60
    assert request.due_at.utcoffset() == timedelta(0)


def test_a_given_due_date_is_kept_unless_it_is_before_receipt():
    assert DeletionRequest(**GOOD, due_at="2026-03-01T14:00:00+02:00").due_at == NOON
    assert refusals(**GOOD, due_at=NOON - timedelta(microseconds=1)) == [
        "field `due_at` is earlier than `received_at`; correct one of them"
    ]


@settings(deadline=None)
@given(st.sets(st.sampled_from(["subject_id", "record_ids", "text"])))
def test_one_selector_is_enough_and_none_is_not(given_selectors):
    values = {"subject_id": "P-1", "record_ids": ["a"], "text": "Ann"}
    fields = {"request_id": "r1", "received_at": NOON, **{name: values[name] for name in given_selectors}}
    if given_selectors:
        DeletionRequest(**fields)
    else:
        assert "nothing says what to forget" in refusals(**fields, record_ids=[])[0]


contents = st.fixed_dictionaries(
    {
        "request_id": st.sampled_from(["r1", "r2"]),
        "received_at": st.sampled_from([NOON, NOON + timedelta(seconds=1)]),
        "subject_id": st.sampled_from(["P-1", "P-2"]),
        "record_ids": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "text": st.sampled_from([None, "Ann", "ann"]),
        "legal_basis": st.sampled_from([None, "GDPR"]),
        "due_at": st.sampled_from([NOON + timedelta(days=days) for days in (30, 31)]),
        "source": st.sampled_from([None, "web form"]),
    }
)
places = st.fixed_dictionaries({"file": st.sampled_from(["a.csv", "b.jsonl"]), "row": st.integers(0, 9)})


@settings(max_examples=200, deadline=None)
@given(contents, st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9), max_size=1))
def test_the_digest_is_that_of_the_request_as_json(content, aliases):
    request = DeletionRequest(**content, aliases=[alias for alias in aliases if alias.strip()])
    asked = request.model_dump(mode="json", exclude={"reference", "file", "row"})
    if not request.aliases:
        del asked["aliases"]  # as before there were any
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert request.content_sha256 == hashlib.sha256(text.encode()).hexdigest()


@settings(max_examples=200, deadline=None)
@given(contents, contents, places, places)
def test_the_digest_is_of_the_content_and_not_of_the_place(one, other, here, there):
    first, second = DeletionRequest(**one, **here), DeletionRequest(**other, **there)
    assert (first.content_sha256 == second.content_sha256) == (one == other)
    assert first.content_sha256 == DeletionRequest(**one, **there).content_sha256
    assert first.origin == f"{here['file']}:{here['row']}"


def test_the_digest_is_the_same_however_the_request_is_written():
    plain = DeletionRequest(**GOOD).content_sha256
    for other in (
        {"received_at": "2026-03-01T13:00:00+01:00"},
        {"due_at": "2026-03-31T12:00:00Z"},
        {"record_ids": [], "text": None},
        {"subject_id": " P-1 "},
    ):
        assert DeletionRequest(**{**GOOD, **other}).content_sha256 == plain
    assert DeletionRequest.model_validate_json(DeletionRequest(**GOOD).model_dump_json()).content_sha256 == plain


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"request_id": " "}, "field `request_id` is empty; fill it in or remove the line"),
        ({"subject_id": "x" * 201}, "field `subject_id` is longer than 200 characters; shorten it"),
        ({"subject_id": 7}, "field `subject_id` must be text; put its value in quotes"),
        ({"record_ids": ["a", ""]}, "field `record_ids[1]` is empty; fill it in or remove the line"),
        ({"text": ""}, "field `text` is empty; fill it in or remove the line"),
        ({"subject": "P-1"}, "field `subject` is not known; remove it or correct its spelling"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(fields, sentence):
    assert refusals(**{**GOOD, **fields}) == [sentence]


@pytest.mark.parametrize(
    "time",
    [
        *("2026-03-01", "2026-03-01T12:00Z", "2026-02-30T12:00:00Z", "2026-03-01T24:00:00Z"),
        *(" 2026-03-01T12:00:00Z", "1740830400", "٢٠٢٦-03-01T12:00:00Z", "last Tuesday", ""),
        *(datetime(2026, 3, 1), 1740830400, None),
    ],
)
def test_a_time_without_zone_or_no_time_has_one_sentence_and_no_second_for_the_due_date(time):
    words = "must be a time with a time zone in the form of RFC 3339; write it like 2025-03-01T12:00:00Z"
    assert refusals(**{**GOOD, "received_at": time}) == [f"field `received_at` {words}"]
    assert refusals(**{**GOOD, "due_at": time}) == [f"field `due_at` {words}"]


def test_a_time_without_zone_says_so():
    words = "has no time zone; add Z for UTC, or how far from it, like 2025-03-01T12:00:00+01:00"
    for time in ("2026-03-01T12:00:00", "2026-03-01 12:00:00.5"):
        assert refusals(**{**GOOD, "received_at": time}) == [f"field `received_at` {words}"]


@pytest.mark.parametrize(
    ("time", "is_good"),
    [
        ("2026-03-01t12:00:00.25z", True),
        ("2026-03-01 12:00:00-00:00", True),
        ("9999-12-01T23:59:59Z", True),
        ("9999-12-02T00:00:00Z", False),  # 30 days later there is no year to write
        ("9999-12-31T23:59:59-01:00", False),
        ("0001-01-01T00:00:00+00:00", True),
        ("0001-01-01T00:00:00+00:01", False),
    ],
)
def test_times_at_the_edges(time, is_good):
    if is_good:
        assert DeletionRequest(**{**GOOD, "received_at": time, "due_at": "9999-12-31T23:59:59Z"}).received_at
    else:
        assert refusals(**{**GOOD, "received_at": time}) == ["a time lies too far away; correct its year"]


def test_what_is_wrong_with_the_row_comes_after_its_fields_and_is_not_said_of_a_selector_that_is_refused():
    nothing = "nothing says what to forget; fill in `subject_id`, `aliases`, `record_ids` or `text`"
    early = "field `due_at` is earlier than `received_at`; correct one of them"
    assert refusals(received_at=NOON, due_at=NOON - timedelta(1), request_id="x" * 201) == [
        "field `request_id` is longer than 200 characters; shorten it",
        early,
        nothing,
    ]
    assert refusals(request_id="r1", received_at=NOON, record_ids=[""]) == [
        "field `record_ids[0]` is empty; fill it in or remove the line"
    ]


def test_a_row_of_text_becomes_a_request_or_an_error_that_says_all():
    row = {
        "request_id": "r1",
        "received_at": "2026-03-01T12:00:00Z",
        "subject_id": "P-1",
        "record_ids": [],
        "text": None,
    }
    assert as_request(row, "a.csv", 3) == DeletionRequest(**GOOD, file="a.csv", row=3)
    with pytest.raises(InputError) as error:
        as_request({"request_id": None, "source": "Ann Secret"}, "a.csv", 3)
    assert error.value.problems == [
        "field `request_id` is missing; give the request an id of its own",
        "field `received_at` is missing; add the time the request came in, like 2025-03-01T12:00:00Z",
        "nothing says what to forget; fill in `subject_id`, `aliases`, `record_ids` or `text`",
    ]


def test_every_wrong_field_has_its_sentence_and_no_value_is_repeated():
    sentences = refusals(received_at="Ann Secret", subject_id={"Ann": "Secret"}, text=["Secret"])
    assert [sentence.split("`")[1] for sentence in sentences] == ["request_id", "received_at", "subject_id", "text"]
    assert sentences[0] == "field `request_id` is missing; add it or remove the line"
    assert "Secret" not in " ".join(sentences)


def test_a_whole_file_is_told_by_its_name():
    rejection = Rejection(file="a.csv", row=0, reasons=["the file is empty; fill it"], raw="")
    assert str(rejection) == "a.csv: the file is empty; fill it"


def test_a_rejection_is_told_by_its_place_and_without_its_row():
    rejection = Rejection(file="a.csv", row=3, reasons=["is bad; correct it", "is long; shorten it"], raw="Ann Secret")
    assert str(rejection) == "a.csv:3: is bad; correct it; is long; shorten it"
    assert Rejection.model_validate_json(rejection.model_dump_json()) == rejection
