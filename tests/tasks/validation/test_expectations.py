"""The kept expectations are those of the models, each named once, in a file that reads the same everywhere."""

import json
import os
import subprocess
import sys
from typing import Annotated, get_args

import pytest
from pydantic import BaseModel, Field, StringConstraints

from tasks.validation.expectations import (
    PROBLEM,
    Table,
    as_json,
    expectations_of,
    load_expectations,
    text_columns,
)
from unilogit.data.records import CorpusRecord
from unilogit.data.requests import DeletionRequest
from unilogit.files import read_json

NOT_NULL = "expect_column_values_to_not_be_null"
LENGTHS = "expect_column_value_lengths_to_be_between"
REGEX = "expect_column_values_to_match_regex"


class Row(BaseModel):
    name: Annotated[str, StringConstraints(min_length=2, max_length=5, pattern="^x")]
    nick: Annotated[str, Field(max_length=7)] | None = None
    count: int = 0
    tags: list[str] = Field(default_factory=list)


def told(expectation):
    """Type, column and bounds of an expectation."""
    kwargs = expectation.configuration.to_json_dict()["kwargs"]
    bounds = [kwargs.get(name) for name in ("min_value", "max_value", "regex")]
    return (expectation.expectation_type, kwargs["column"], [bound for bound in bounds if bound is not None])


def test_a_model_says_what_is_expected_of_its_fields():
    assert text_columns(Row) == ["name", "nick", "count"]
    assert [told(expectation) for expectation in expectations_of(Row)] == [
        (NOT_NULL, "name", []),
        (LENGTHS, "name", [2, 5]),
        (REGEX, "name", ["^x"]),
        (LENGTHS, "nick", [7]),
        (NOT_NULL, "count", []),
    ]


@pytest.mark.parametrize("table", Table)
def test_the_kept_file_is_not_stale(table):
    assert read_json(table.file) == as_json(table), "type `python -m tasks.validation.expectations`"


@pytest.mark.parametrize(("table", "model"), [(Table.REQUESTS, DeletionRequest), (Table.CORPUS, CorpusRecord)])
def test_the_kept_file_is_what_a_run_asks(table, model):
    kept = read_json(table.file)
    asked = load_expectations(table)
    assert asked.name == kept["name"] == table
    assert [item.expectation_type for item in asked.expectations] == [item["type"] for item in kept["expectations"]]
    assert len({item["id"] for item in kept["expectations"]}) == len(kept["expectations"])
    columns = {item["kwargs"]["column"] for item in kept["expectations"] if "column" in item["kwargs"]}
    optional = {name for name, field in model.model_fields.items() if type(None) in get_args(field.annotation)}
    assert set(text_columns(model)) - optional <= columns
    assert PROBLEM in columns


def test_the_file_is_the_same_in_every_process():
    code = "import json; from tasks.validation.expectations import *; print(json.dumps(as_json(Table.CORPUS)))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == read_json(Table.CORPUS.file)


def test_what_great_expectations_does_not_know_is_not_passed_over(tmp_path, monkeypatch):
    kept = read_json(Table.REQUESTS.file)
    kept["expectations"][3]["type"] = "expect_the_unexpected"
    file = tmp_path / "requests.json"
    file.write_text(json.dumps(kept))
    monkeypatch.setattr(Table, "file", file)
    with pytest.raises(RuntimeError, match="holds expectations that Great Expectations does not know"):
        load_expectations(Table.REQUESTS)
