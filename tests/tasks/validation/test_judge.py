"""Real Great Expectations: all that is expected can fail, and what fails is told of the rows that it is about."""

from datetime import UTC, datetime
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.validation.expectations import (
    LENGTH_SHARE,
    PLACE,
    PROBLEM,
    ROWS_SHARE,
    SELECTORS,
    SUBJECTS,
    UNMATCHED,
    Table,
    load_expectations,
    text_columns,
)
from tasks.validation.judge import judge, judging
from unilogit.data.records import CorpusRecord
from unilogit.data.requests import DeletionRequest

REPEATED = "field `{}` repeats that of {}; give it one of its own or remove the line"
REQUEST = {
    "request_id": "R",
    "received_at": "2025-03-01T12:00:00Z",
    "subject_id": "ann",
    "text": "Ann",
    "due_at": "2025-03-31T12:00:00Z",
    "reference": "R",
    "file": "a.csv",
    "row": "1",
}
RECORD = {"record_id": "r", "prompt": "Who?", "response": "Ann.", "alternative_response": "Who?", "group": ""}
MODELS = {Table.REQUESTS: (DeletionRequest, REQUEST), Table.CORPUS: (CorpusRecord, RECORD)}
REFERENCE = {"field": "subject_id", SELECTORS: 3, UNMATCHED: 0}
TOTALS = {"rows": 9, "earlier_rows": 8, "response_length": 5.5, "earlier_response_length": 4.4}
PLAIN = {Table.REFERENCES: REFERENCE, Table.TOTALS: {**TOTALS, ROWS_SHARE: 2.0, LENGTH_SHARE: 0.5}}
IDENTIFIERS = {Table.REQUESTS: "request_id", Table.CORPUS: "record_id"}


def good_rows(table, count=20):
    if table in PLAIN:
        rows = pd.DataFrame([PLAIN[table]] * count, columns=[PLACE, *PLAIN[table]])
        return rows.assign(**{PLACE: [f"a:{number}" for number in range(count)]})
    model, fields = MODELS[table]
    rows = pd.DataFrame([fields] * count, columns=[PLACE, PROBLEM, *text_columns(model)], dtype="str")
    rows[PLACE] = [f"a:{number}" for number in range(count)]
    rows[IDENTIFIERS[table]] = [f"id-{number}" for number in range(count)]
    if table is Table.CORPUS:
        rows[SUBJECTS] = 1
    return rows


@pytest.fixture
def ask(tmp_path):
    def ask(table, rows):
        return judge(table, rows, tmp_path / "docs", tmp_path)

    return ask


def failed(judgement):
    return {(result.expectation, *result.columns) for result in judgement.results if not result.success}


@pytest.mark.parametrize("table", Table)
def test_good_rows_are_all_that_is_expected(ask, table):
    judgement = ask(table, good_rows(table))
    assert failed(judgement) == set()
    assert (judgement.refused, judgement.warnings) == ({}, [])
    assert len(judgement.results) == len(load_expectations(table).expectations)


def names(table):
    return [
        (table, item.expectation_type, getattr(item, "column", None)) for item in load_expectations(table).expectations
    ]


def broken(kind, column, table):
    """Rows of which one, or where it must be all, all break an expectation."""
    rows = good_rows(table)
    value = {
        "expect_column_values_to_be_null": "is wrong; correct it",
        "expect_column_values_to_be_unique": rows.loc[0, column] if column else None,
        "expect_column_values_to_not_be_null": None,
        "expect_column_value_lengths_to_be_between": "x" * 201 if column and column.endswith("_id") else "",
        "expect_column_values_to_match_regex": " ",
        "expect_column_values_to_be_between": 0,
    }[kind]
    is_of_all = kind == "expect_column_values_to_be_between"
    rows.loc[slice(None) if is_of_all else 7 if column != PROBLEM else slice(7, 9), column] = value
    return rows


def test_a_reference_that_points_at_nothing_is_told_by_its_place(ask):
    rows = good_rows(Table.REFERENCES)
    rows.loc[[4, 7], UNMATCHED] = [1, 3]
    judgement = ask(Table.REFERENCES, rows)
    assert judgement.refused == {}
    assert judgement.warnings == [
        f"a:{row}: {unmatched} of 3 match nothing in the corpus; check the spelling"
        for row, unmatched in ((4, 1), (7, 3))
    ]


JUDGED_BY_ROW = [name for table in (Table.REQUESTS, Table.CORPUS) for name in names(table)]


@pytest.mark.parametrize(("table", "kind", "column"), JUDGED_BY_ROW)
def test_whatever_is_expected_can_fail(ask, table, kind, column):
    judgement = ask(table, broken(kind, column, table))
    assert (kind, column) in failed(judgement) if column else (kind,) in failed(judgement)
    if "unique" in kind:
        assert judgement.refused == {"a:7": [REPEATED.format(column, "a:0")]}
    elif column == PROBLEM:
        assert judgement.refused == {}
        assert judgement.warnings == [
            "more than a tenth of the rows were refused; is this the right file, in the right form?"
        ]
    elif judgement.warnings:
        assert (judgement.refused, len(judgement.warnings)) == ({}, 1)
    else:
        assert set(judgement.refused) == {"a:7"}
        assert (
            f"field `{column}` is not what is expected of it ({kind}); correct it or remove the line"
            in judgement.refused["a:7"]
        )


@settings(max_examples=4, deadline=None)
@given(st.lists(st.tuples(st.none() | st.integers(0, 8), st.booleans()), min_size=20, max_size=40))
def test_of_rows_with_one_id_the_first_good_one_stays(tmp_path_factory, drawn):
    rows = good_rows(Table.REQUESTS, len(drawn))
    rows["request_id"] = pd.Series([None if name is None else f"R{name}" for name, _ in drawn], dtype="str")
    rows[PROBLEM] = pd.Series(["is bad" if bad or name is None else None for name, bad in drawn], dtype="str")
    folder = tmp_path_factory.mktemp("docs")
    refused = judge(Table.REQUESTS, rows, folder / "docs", folder).refused
    expected = {}
    for number, (name, _) in enumerate(drawn):
        same = [place for place, (other, _) in enumerate(drawn) if other == name is not None]
        first = next((place for place in same if not drawn[place][1]), same[0] if same else number)
        if first != number:
            expected[f"a:{number}"] = [REPEATED.format("request_id", f"a:{first}")]
    assert refused == expected


def test_rows_asked_about_in_parts_count_as_one_table(tmp_path):
    rows = good_rows(Table.REQUESTS, 40)
    rows.loc[[3, 21, 22, 23], PROBLEM] = "is bad"  # a twentieth of the first part, more than a tenth of the second
    rows.loc[5, "text"] = ""
    parts = [rows[:20], rows[20:].reset_index(drop=True)]
    with judging(Table.REQUESTS, tmp_path / "docs", datetime(2026, 3, 2, tzinfo=UTC)) as judges:
        refused = [judges.ask(part) for part in parts]
    whole = judge(Table.REQUESTS, rows, tmp_path / "whole", tmp_path)
    assert {**refused[0], **refused[1]} == whole.refused != {}
    assert judges.results == whole.results
    assert judges.warnings == whole.warnings == []
    assert len(list((tmp_path / "docs" / "validations" / "requests").rglob("*.html"))) == 2
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "docs").rglob("*.html")}
    assert (modes, (tmp_path / "docs").stat().st_mode & 0o777) == ({0o600}, 0o700)


@pytest.mark.parametrize("table", Table)
def test_no_rows_at_all(ask, table):
    judgement = ask(table, good_rows(table, 0))
    assert (failed(judgement), judgement.refused, judgement.warnings) == (set(), {}, [])


@pytest.mark.parametrize(("column", "share"), [(ROWS_SHARE, 2.1), (ROWS_SHARE, 0.4), (LENGTH_SHARE, float("inf"))])
def test_totals_unlike_those_before_are_told_in_numbers(ask, column, share):
    rows = good_rows(Table.TOTALS, 1)
    rows[column] = share
    [warning] = ask(Table.TOTALS, rows).warnings
    assert ("has 9 rows, and had 8" if column == ROWS_SHARE else "has 6 characters on average, and had 4") in warning


def test_totals_without_any_before_are_not_compared(ask):
    rows = good_rows(Table.TOTALS, 1).assign(**{ROWS_SHARE: None, LENGTH_SHARE: None})
    assert ask(Table.TOTALS, rows).warnings == []


def test_what_cannot_be_asked_is_a_defect(ask):
    with pytest.raises(RuntimeError, match="could not evaluate"):
        ask(Table.REQUESTS, good_rows(Table.REQUESTS).drop(columns="subject_id"))


class First(HTMLParser):
    """What stands in a page's head before anything that could be loaded."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_pages_load_nothing_from_the_internet(ask, tmp_path):
    ask(Table.CORPUS, good_rows(Table.CORPUS))
    pages = list((tmp_path / "docs").rglob("*.html"))
    assert len(pages) == 3
    for page in pages:
        first = First()
        first.feed(page.read_text(encoding="utf-8"))
        tags = [tag for tag, _ in first.tags]
        policy = first.tags[tags.index("head") + 1]
        assert policy[0] == "meta"
        assert policy[1]["http-equiv"] == "Content-Security-Policy"
        assert policy[1]["content"] == "default-src 'unsafe-inline' data: file:"
