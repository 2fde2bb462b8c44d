"""Memorisation against loops written from the definitions."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unilogit.evaluation.memorisation import exact_memorisation, extraction_strength


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_the_shortest_prefix_after_which_all_is_right(right):
    n = len(right)
    prefixes = [k for k in range(n) if all(right[k:])]
    assert extraction_strength(np.array(right)) == 1 - (min(prefixes) if prefixes else n - 1) / n
    assert exact_memorisation(np.array(right)) == sum(right) / n


def test_an_answer_of_one_token_and_of_none():
    assert extraction_strength(np.array([True])) == extraction_strength(np.array([False])) == 1
    assert exact_memorisation(np.array([False])) == 0
    assert extraction_strength(np.array([], dtype=bool)) == 0
    assert math.isnan(exact_memorisation(np.array([], dtype=bool)))
