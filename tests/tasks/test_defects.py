"""A defect: what it was stays in a file of the home, where it was may be told to anybody."""

import stat
from pathlib import Path

import pandas as pd
import pytest

from tasks.defects import Defect, as_defect
from tasks.workspace import defects_folder

SECRET = "Zebulon Quark"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UNILOGIT_HOME", str(tmp_path / "home"))


def caught(function):
    try:
        function()
    except Exception as error:
        return as_defect(error)
    pytest.fail("nothing was raised")


def of_a_library():
    pd.Series([1]).loc[SECRET]


def of_a_group():
    raise ExceptionGroup(SECRET, [KeyError(SECRET)])


def with_a_note():
    error = ValueError(SECRET)
    error.add_note(SECRET)
    raise error


@pytest.mark.parametrize("function", [of_a_library, of_a_group, with_a_note])
def test_what_is_told_quotes_nothing_and_the_file_everything(function):
    defect = caught(function)
    assert SECRET not in "".join([str(defect), repr(defect), defect.trace])
    [file] = defects_folder().iterdir()
    assert str(file) in str(defect)
    assert SECRET in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert function.__name__ in defect.trace


def test_the_innermost_line_of_ours_is_named_not_that_of_a_library():
    where = f"{Path(__file__).relative_to(Path(__file__).parents[2])}:{of_a_library.__code__.co_firstlineno + 1}"
    assert str(caught(of_a_library)).startswith(f"a defect of unilogit: KeyError at {where}; all of it is in ")


def test_a_defect_is_written_once():
    defect = caught(of_a_library)
    assert as_defect(defect) is defect
    assert isinstance(defect, Defect)
    assert len(list(defects_folder().iterdir())) == 1
