"""Identifiers as they are written, whatever a file makes of them."""

from decimal import Decimal

import pytest

from unilogit.data.cells import identifier, reach


@pytest.mark.parametrize(
    ("cell", "name"),
    [("007", "007"), (" a ", " a "), (4711, "4711"), (-1, "-1"), (Decimal("4711"), "4711"), (None, None)],
)
def test_what_is_written_is_kept(cell, name):
    assert identifier(cell) == name


def test_nothing_is_how_data_frames_write_it():
    assert identifier(float("nan")) is None


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (
            4711.0,
            "is a number with a decimal point, so that nobody knows the id; export it as text",
        ),
        (Decimal("4711.0"), "is a number with a decimal point"),
        (float("inf"), "is a number with a decimal point"),
        (True, "must be text or a whole number, not true or false; correct it"),
        (["a"], "must be text or a whole number; put its value in quotes"),
    ],
)
def test_what_nobody_knows_the_id_of_is_refused(cell, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        identifier(cell)


def test_paths_reach_through_objects_and_lists():
    value = {"a": [{"b": 1}, {"b": [2, 3]}, {}, 7]}
    assert reach(value, ["a", "b"]) == [1, 2, 3, None, None]
    assert reach(value, ["x"]) is None
    assert reach(value, []) is value
