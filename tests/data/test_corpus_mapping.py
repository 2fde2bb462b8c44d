"""Columns by the names that a mapping gives them: nested ones, lists, and what is passed over."""

import pytest

from unilogit.data.corpus_mapping import ColumnNames
from unilogit.data.records import COLUMNS
from unilogit.errors import InputError

ROW = {"key": 17, "q": "Where?", "meta": {"customers": [{"no": 4711}, {"no": "007"}], "lang": "en"}, "prompt": "old"}


def test_columns_get_our_names():
    mapping = {"key": "record_id", "q": "prompt", "meta.customers.no": "subject_ids", "prompt": None}
    names = ColumnNames(mapping, COLUMNS)
    assert names.renamed(ROW) == {"record_id": 17, "prompt": "Where?", "subject_ids": [4711, "007"]}
    assert names.unseen == set()
    assert {"key", "meta", "q"} <= names.heads


def test_one_value_is_a_list_of_one_and_lists_are_joined():
    names = ColumnNames({"owner": "subject_ids", "others": "subject_ids", "gone": "group"}, COLUMNS)
    assert names.renamed({"owner": "a", "others": ["b"]}) == {"subject_ids": ["a", "b"]}
    assert names.renamed({"owner": None, "others": []}) == {"subject_ids": []}
    assert names.unseen == {"gone"}


def test_a_name_with_a_dot_is_a_name_too():
    assert ColumnNames({"a.b": "prompt"}, COLUMNS).renamed({"a.b": "x"}) == {"prompt": "x"}
    assert ColumnNames({"a.b": "prompt"}, COLUMNS).renamed({"a": {"b": "x"}}) == {"prompt": "x"}


def test_without_a_mapping_rows_stay_as_they_are():
    assert ColumnNames(None, COLUMNS).renamed(ROW) is ROW


def test_a_field_that_is_given_twice_is_refused():
    with pytest.raises(ValueError, match="gives the field `prompt` twice; keep one"):
        ColumnNames({"q": "prompt"}, COLUMNS).renamed(ROW)


def test_a_mapping_that_leads_nowhere_is_refused():
    with pytest.raises(InputError) as error:
        ColumnNames({"q": "promt", "a": "prompt", "b": "prompt", "c": "subject_ids", "d": "subject_ids"}, COLUMNS)
    first, second = error.value.problems
    assert first.startswith("data.corpus_mapping: q: `promt` is no field of a record; choose one of record_id, ")
    assert second == "data.corpus_mapping: more than one field is mapped to `prompt`, which is no list; keep one"
