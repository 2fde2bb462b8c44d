"""What a cell says is what is read; what nobody can know is refused, never guessed."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.data.request_fields import FIELDS, column_name, csv_list, passed_over, read_fields


def read(name, cell, is_csv=False):
    fields, problems = read_fields({name: cell}, is_csv)
    return problems or fields[name]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (17, "17"),
        (-1, "-1"),
        (10**30, "1" + "0" * 30),
        (Decimal("4711"), "4711"),
        ("007", "007"),
        (" a ", " a "),
        ("4711.0", "4711.0"),
        ("", None),
        (" ", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_an_identifier_is_kept_as_it_is_written(cell, text):
    assert read("subject_id", cell) == text


@pytest.mark.parametrize(
    "cell", [4711.0, 4711.5, 1e300, float("inf"), Decimal("1.0"), True, False, {"a": 1}, b"a", date(2026, 3, 2)]
)
@pytest.mark.parametrize("name", ["request_id", "subject_id"])
def test_what_is_no_identifier_any_more_is_refused(name, cell):
    [problem] = read(name, cell)
    assert problem.startswith(f"field `{name}` ")
    assert not any(word in problem for word in ("4711.5", "300", "inf"))
    assert read("record_ids", [cell]) == [problem.replace(name, "record_ids")]


@pytest.mark.parametrize("cell", ["4711.0", "4711,0", "4711.00", "1.23457E+15", "1,23457E+15", "5E-05", " 12.0 "])
def test_a_number_that_a_spreadsheet_rewrote_is_refused_in_csv(cell):
    [problem] = read("subject_id", cell, is_csv=True)
    assert "a spreadsheet has rewritten" in problem
    assert read("aliases", ["a", cell], is_csv=True) == [problem.replace("subject_id", "aliases")]
    assert read("text", cell, is_csv=True) == cell


@pytest.mark.parametrize("cell", ["12E5", "1.0.0", "0042", "4711.5", "v1.0", "1e5", "=cmd()", "+49 30 1"])
def test_other_text_in_csv_stays_as_it_is(cell):
    assert read("subject_id", cell, is_csv=True) == cell


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("2026-03-02", "2026-03-02T00:00:00Z"),
        (date(2026, 3, 2), "2026-03-02T00:00:00Z"),
        (datetime(2026, 3, 2, 15, tzinfo=UTC), "2026-03-02T15:00:00+00:00"),
        ("2026-03-02T15:00:00+01:00", "2026-03-02T15:00:00+01:00"),
        (1772463600, "2026-03-02T15:00:00+00:00"),
        ("1772463600", "2026-03-02T15:00:00+00:00"),
        (1772463600.25, "2026-03-02T15:00:00.250000+00:00"),
        (" 1772463600.5 ", "2026-03-02T15:00:00.500000+00:00"),
        (1772463600123, "2026-03-02T15:00:00.123000+00:00"),
        ("last Tuesday", "last Tuesday"),
        (float("nan"), None),
        ("", None),
    ],
)
def test_times_are_read_where_they_are_times(cell, text):
    assert read("received_at", cell) == text


@given(st.integers(10**9, 10**10 - 1), st.sampled_from([int, float, str, lambda seconds: seconds * 1000]))
def test_seconds_since_1970_in_every_spelling(seconds, spelling):
    assert datetime.fromisoformat(read("received_at", spelling(seconds))).timestamp() == seconds


@pytest.mark.parametrize("cell", [20260302, "20260302", 46083, "46083.625", 0, 177246360012, 1772463600123456, 1e300])
def test_a_number_that_may_be_any_time_is_refused(cell):
    [problem] = read("received_at", cell)
    assert "neither seconds (10 digits) nor milliseconds (13 digits) since 1970" in problem


def test_a_truth_is_no_time():
    assert "not true or false" in read("due_at", True)[0]


items = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@given(st.lists(items | st.integers(0), max_size=4))
def test_a_list_in_a_cell_is_read_as_python_prints_it(cells):
    assert csv_list(repr(cells)) == cells


@pytest.mark.parametrize(
    ("cell", "cells"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ("['a' 'b']", ["a", "b"]),
        ("['a'\n 'b']", ["a", "b"]),
        (" [1, 2] ", [1, 2]),
        ("[]", []),
        ("a; b ;;", ["a", "b"]),
        ("a, b", ["a, b"]),
        ("", []),
        (None, []),
    ],
)
def test_every_spelling_of_a_list(cell, cells):
    assert csv_list(cell) == cells


@pytest.mark.parametrize(
    "cell",
    ["[a]", "['a'", "['a' ... 'b']", "[007, 'a']", "['a''b']", "['a'] + ['b']", "[f'{x}']", "[" * 9999, "[f(x)]"],
)
def test_what_begins_like_a_list_and_is_none_is_refused(cell):
    with pytest.raises(ValueError, match="begins like a list and is none"):
        csv_list(cell)


def test_names_are_compared_without_case_hyphens_and_spaces():
    assert {column_name(name) for name in ("Subject ID", " subject-id ", "SUBJECT_ID", "subject  id")} == {"subject_id"}


def test_columns_that_are_passed_over_are_named_with_what_they_may_mean():
    names = ["subjectid", "status", "ann@example.org", *(f"x{number}" for number in range(20))]
    told = passed_over(names, FIELDS)
    assert "`subjectid` (did you mean `subject_id`?), `status`, `x0`" in told
    assert told.endswith(", 13 more")
    assert "ann" not in told
    assert "did you mean" not in passed_over(names, set(FIELDS) - {"subject_id"})
