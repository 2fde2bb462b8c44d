"""Shingles and likeness against sets of words in Python, and against all pairs."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilogit.data.shingles import WORDS, ShingleIndex, joined, shingles_of, words_of
from unilogit.data.text import normal_form
from unilogit.data.words import is_unspaced, words

TEXTS = st.lists(
    st.text("abcÄß李明ไท่ี '-_.,\u00a0\n", max_size=24) | st.text("ab市नमिा् \u0301.", max_size=12), max_size=12
)
PHRASES = st.lists(st.lists(st.sampled_from(["ann", "Bö", "lives", "in", "Linz", "3"]), max_size=9).map(" ".join))


def shingles(text):
    found = words(normal_form(text))
    return {tuple(found[start : start + WORDS]) for start in range(max(1, len(found) - WORDS + 1))} if found else set()


def arrow(texts):
    return pa.array([f"{text}\0" for text in texts], pa.string())


@settings(deadline=None)
@given(TEXTS)
def test_words_and_shingles_are_those_of_each_text(texts):
    expected = [words(normal_form(text)) for text in texts]
    assert words_of(arrow(texts)).counts.tolist() == [len(found) for found in expected]
    assert words_of(arrow(texts)).characters.tolist() == [
        sum(is_unspaced(word[0]) for word in found) for found in expected
    ]
    sets = shingles_of(words_of(arrow(texts)))
    hashes = [set(sets.set_at(place).tolist()) for place in range(len(texts))]
    expected = [shingles(text) for text in texts]
    assert [len(members) for members in hashes] == [len(members) for members in expected]
    for one, other in combinations(range(len(texts)), 2):
        assert len(hashes[one] & hashes[other]) == len(expected[one] & expected[other])


@settings(deadline=None)
@given(st.lists(st.tuples(st.text("ab 李é.", max_size=12), st.text("ab 李é.", max_size=12)), max_size=8))
def test_joined_words_are_those_of_the_texts_one_after_the_other(pairs):
    left, right = (words_of(arrow([pair[side] for pair in pairs])) for side in (0, 1))
    together = words_of(arrow([" ".join(pair) for pair in pairs]))
    assert [part.tolist() for part in joined(left, right)] == [part.tolist() for part in together]


def test_long_words_differ_in_any_byte():
    stem = "x" * 40
    texts = [stem, *(stem[:place] + "y" + stem[place + 1 :] for place in range(40)), stem + "x", stem[1:]]
    hashes = words_of(arrow(texts)).hashes
    assert len(set(hashes.tolist())) == len(texts) == len(hashes)


@settings(deadline=None, max_examples=60)
@given(PHRASES, PHRASES, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_pairs_are_those_of_all_pairs(known, asked, threshold):
    index = ShingleIndex(shingles_of(words_of(arrow(known))), threshold)
    pairs = {(p.place, p.number): p.similarity for p in index.alike(shingles_of(words_of(arrow(asked))))}
    numbers = {}
    for place, text in enumerate(known):
        assert numbers.setdefault(frozenset(shingles(text)), index.numbers[place]) == index.numbers[place]
    expected = {}
    for place, text in enumerate(asked):
        for members, number in numbers.items():
            union = shingles(text) | members
            if union and len(shingles(text) & members) / len(union) >= threshold:
                expected[place, number] = len(shingles(text) & members) / len(union)
    assert pairs == expected


@pytest.mark.parametrize("threshold", [0.3, 0.8, 0.95])
def test_nearly_all_pairs_just_above_the_threshold_are_found(threshold):
    rng = np.random.default_rng(0)
    size = 40
    common = int(np.ceil(2 * size * threshold / (1 + threshold)))
    texts = [[f"w{number}" for number in rng.integers(0, 10**9, size + WORDS - 1)] for _ in range(2000)]
    # A copy shares the first words: `common` shingles of both.
    copies = [text[: common + WORDS - 1] + [f"c{n}-{k}".replace("-", "z") for k in range(size - common)]
              for n, text in enumerate(texts)]  # fmt: skip
    index, sets = (shingles_of(words_of(arrow(map(" ".join, group)))) for group in (texts, copies))
    pairs = list(ShingleIndex(index, threshold).alike(sets))
    assert all(pair.place == pair.number for pair in pairs)
    assert len(pairs) >= 0.995 * len(texts)
