"""Requests as selectors: each once, in normal form, and which of them are looked for where."""

import math

import pandas as pd

from unilogit.data.selectors import Reason, Requests

COLUMNS = ["request_id", "subject_id", "aliases", "record_ids", "text"]


def frame(*rows):
    return pd.DataFrame(list(rows), columns=COLUMNS).astype("object")


def rows_of(requests):
    return [tuple(row.values()) for row in requests.selectors.to_pylist()]


def test_selectors_by_kind_each_once():
    current = frame(
        ("q0", " Ann\u00a0B ", ["Ann B", "Al", "Al"], ["r1", "r1"], "Anna"), ("q1", None, [], ["r2"], math.nan)
    )
    requests = Requests(current, frame(("q2", "Bo", [], [], None)), {}, min_text_length=4)
    assert rows_of(requests) == [
        (0, "subject_id", " Ann\u00a0B ", "ann b", True, False),
        (0, "text", "Anna", "anna", False, True),
        (0, "alias", "Ann B", "ann b", True, True),
        (0, "alias", "Al", "al", True, False),
        (0, "record_id", "r1", "r1", True, False),
        (1, "record_id", "r2", "r2", True, False),
        (2, "subject_id", "Bo", "bo", True, False),
    ]
    assert (requests.names, requests.n_current, requests.short_aliases) == (["q0", "q1", "q2"], 2, {0: 1})


def test_what_nobody_can_see_is_compared_with_nothing():
    requests = Requests(frame(("q", "\u200b", ["\u200b"], [], None)), frame(), {}, min_text_length=1)
    assert [row[3:] for row in rows_of(requests)] == [("", False, False)] * 2


def test_short_texts_of_this_batch_need_an_approval():
    asked = [(f"q{number}", None, [], [], text) for number, text in enumerate(["abc", "abcd", "x"])]
    approvals = {"q2": [Reason.SHORT_TEXT], "q0": [Reason.LARGE_SHARE]}
    requests = Requests(frame(*asked), frame(("q9", None, [], [], "y")), approvals, min_text_length=4)
    assert requests.short_texts == {0: 3}
    assert [row[-1] for row in rows_of(requests)] == [False, True, True, True]
    assert [requests.is_free(number, Reason.LARGE_SHARE) for number in range(4)] == [True, False, False, True]
