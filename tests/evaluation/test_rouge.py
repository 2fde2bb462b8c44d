"""ROUGE-L recall against a textbook longest common subsequence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilogit.evaluation.rouge import rouge_l_recall

WORDS = ["cat", "dog", "sun", "red", "hat"]  # no stem differs from its word
sentences = st.lists(st.sampled_from(WORDS), max_size=8)


def common(a, b):
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + common(a[1:], b[1:])
    return max(common(a[1:], b), common(a, b[1:]))


@given(reference=sentences.filter(bool), generated=sentences)
def test_recall_is_common_subsequence_over_reference(reference, generated):
    [recall] = rouge_l_recall([" ".join(reference)], [" ".join(generated)])
    assert recall == pytest.approx(common(tuple(reference), tuple(generated)) / len(reference))


def test_words_are_stemmed_and_case_and_punctuation_do_not_count():
    assert rouge_l_recall(["She paints houses."], ["painting HOUSE!"]).tolist() == [2 / 3]


def test_nothing_said_and_nothing_to_compare():
    assert rouge_l_recall(["a cat", "Кошка"], ["", "Кошка"]).tolist() == [0.0, 0.0]
    assert rouge_l_recall([], []).shape == (0,)
